"""A progress line on a terminal: what is being done, how much of it, and for how long."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class Bar:
    """What a verb moves: the stage it is in, and how much of it is done."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    def stage(self, description: str) -> None:
        """Something new begins, of unknown length."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=None)

    def step(self, done: int, total: int) -> None:
        """`done` of `total` are done."""
        self._progress.update(self._task, completed=done, total=total)


class DoneOfTotal(ProgressColumn):
    """`12/36` in a progress line; nothing while the total is not known."""

    def render(self, task: Task) -> Text:
        """The counts as text."""
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}")


@contextmanager
def progress_line(console: Console, description: str, *, hidden: bool) -> Generator[Bar]:
    """The line while something long runs; it is gone afterwards."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DoneOfTotal(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=hidden,
    )
    with progress:
        yield Bar(progress, description)
