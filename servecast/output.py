"""Where a verb prints: data to stdout, talk to stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.console import Console

    from servecast.progress import Bar


class Output:
    """One verb's output. `json_mode` prints one JSON value; otherwise tables and lines.

    On a terminal lines break between words and texts fold inside their column. A pipe or a file has
    no width: every line and every row of a table stays whole, for `grep` and the like.
    """

    def __init__(self, *, json_mode: bool, quiet: bool, no_color: bool) -> None:
        from rich.console import Console  # here, so that `--help` does not pay for it

        self.json_mode = json_mode
        self.quiet = quiet
        plain = True if no_color else None  # None: rich decides (terminal, NO_COLOR)
        self._out = Console(no_color=plain, highlight=False, emoji=False)
        self._talk = Console(stderr=True, no_color=plain, highlight=False, emoji=False, quiet=quiet)

    def data(self, value: object) -> None:
        """The answer as JSON; what is not a number becomes null."""
        json.dump(plain_json(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")

    def line(self, text: str = "", *, whole: bool = False) -> None:
        """A line of the answer, or several; rich markup is understood.

        `whole` never breaks it: a command or a path, to be copied.
        """
        _print(self._out, text, None if whole else _width(self._out))

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        spare: Sequence[str] = (),
    ) -> None:
        """A table of the answer; `spare` columns are left out first where it is too wide."""
        from rich.text import Text

        from servecast import layout

        cells = [[Text.from_markup(cell, emoji=False) for cell in row] for row in rows]
        lines, left_out = layout.table(columns, cells, _width(self._out), spare)
        for line in lines:
            self._out.print(line, soft_wrap=True)
        if left_out:
            self.note(f"\nleft out in this narrow terminal: {', '.join(left_out)}")

    def note(self, text: str) -> None:
        """Talk beside the answer, on stderr."""
        _print(self._talk, text, _width(self._talk))

    @contextmanager
    def progress(self, description: str) -> Generator[Bar]:
        """A progress line on stderr while something long runs; nothing where it is not wanted."""
        from servecast.progress import progress_line

        hidden = self.quiet or not self._talk.is_terminal
        with progress_line(self._talk, description, hidden=hidden) as bar:
            yield bar


def literal(text: object) -> str:
    """A path or a name as rich markup that prints it as it is, square brackets and all."""
    from rich.markup import escape

    return escape(str(text))


def counted(count: int, noun: str) -> str:
    """`1 choice`, `1,200 choices`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def plain_json(value: object) -> object:
    """`value` in JSON's own types: tuples as lists, NaN and infinity as null, others as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        fields = cast("Mapping[object, object]", value)
        return {str(key): plain_json(item) for key, item in fields.items()}
    if isinstance(value, Sequence):
        return [plain_json(item) for item in cast("Sequence[object]", value)]
    return str(value)


def _width(console: Console) -> int | None:
    """Columns of a terminal; None for a pipe or a file."""
    return console.width if console.is_terminal else None


def _print(console: Console, text: str, width: int | None) -> None:
    from rich.text import Text

    from servecast import layout

    for part in Text.from_markup(text, emoji=False).split("\n", allow_blank=True):
        for line in layout.fold(part, width):
            console.print(line, soft_wrap=True)
