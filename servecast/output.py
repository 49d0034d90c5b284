"""Where a verb prints: data to stdout, talk to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Bar:
    """A progress line: what is being done, and how much of it."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    def stage(self, description: str) -> None:
        """Something new begins, of unknown length."""
        self._progress.update(self._task, description=description, total=None, completed=0)

    def step(self, done: int, total: int) -> None:
        """`done` of `total` are done."""
        self._progress.update(self._task, completed=done, total=total)


class Output:
    """One verb's output. `json_mode` prints one JSON value; otherwise tables and lines."""

    def __init__(self, *, json_mode: bool, quiet: bool, no_color: bool) -> None:
        self.json_mode = json_mode
        self.quiet = quiet
        plain = True if no_color else None  # None: rich decides (terminal, NO_COLOR)
        self._out = Console(no_color=plain, highlight=False, soft_wrap=True)
        self._talk = Console(stderr=True, no_color=plain, highlight=False, quiet=quiet)

    def data(self, value: object) -> None:
        """The answer as JSON; what is not a number becomes null."""
        json.dump(plain_json(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")

    def line(self, text: str = "") -> None:
        """A line of the answer; rich markup is understood."""
        self._out.print(text)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None
    ) -> None:
        """A table of the answer; columns after the first that hold figures are right-aligned."""
        rows = list(rows)
        table = Table(box=None, title=title, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
        for index, column in enumerate(columns):
            cells = [row[index] for row in rows]
            numeric = index > 0 and all(cell[:1].isdigit() or cell[:1] in "$-±–" for cell in cells)
            table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._out.print(table)

    def note(self, text: str) -> None:
        """Talk beside the answer, on stderr."""
        self._talk.print(text)

    @contextmanager
    def progress(self, description: str) -> Iterator[Bar]:
        """A progress line on stderr while something long runs; nothing where it is not wanted."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._talk,
            transient=True,
            disable=self.quiet or not self._talk.is_terminal,
        )
        with progress:
            yield Bar(progress, description)


def plain_json(value: object) -> object:
    """`value` in JSON's own types: tuples as lists, NaN and infinity as null, others as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain_json(item) for item in value]
    return str(value)
