"""The run log of data-parallel ranks: one row for a step of all of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from servecast.primitives.batch import Batch
from servecast.simulator.token_log import TokenLog


@dataclass(slots=True)
class _Step:
    """A step of which some ranks have not taken in what came out."""

    start_ns: int
    end_ns: int
    batch: Batch
    parts: int
    blocks_used: int = 0


class WaveLog(TokenLog):
    """Ranks note their parts of a step; the row is that of all parts, and of the fullest KV cache.

    No rank takes in a step before all have taken in the one before.
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        super().__init__()
        self._open: deque[_Step] = deque()

    def begin_step(self, start_ns: int, end_ns: int, batches: list[Batch]) -> None:
        """A step of these parts begins; a step of dummies alone has none, and is a row at once."""
        groups = tuple(group for batch in batches for group in batch.groups)
        self._open.append(_Step(start_ns, end_ns, Batch(groups), len(batches)))
        self._close()

    def note_step(self, start_ns: int, end_ns: int, batch: Batch, blocks_used: int) -> None:
        """A rank has taken in its part of the oldest step, and holds so many KV blocks."""
        step = self._open[0]
        step.parts -= 1
        step.blocks_used = max(step.blocks_used, blocks_used)
        self._close()

    def _close(self) -> None:
        while self._open and not self._open[0].parts:
            step = self._open.popleft()
            super().note_step(step.start_ns, step.end_ns, step.batch, step.blocks_used)
