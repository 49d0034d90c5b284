"""Measured points in lines along one size each, and what leaving one of them out would cost.

A line is read as tables are: between two points the time is affine in the ideal time of the
operation (`primitives/utilisation.py`). The error of a point that its neighbours predict says how
much a further point beside it is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey
from servecast.primitives.utilisation import Curve, Floats
from servecast.profiler.probe import GROWING, Point, Probe
from servecast.profiler.probe_grid import between
from servecast.profiler.probe_work import ideal_work

UNKNOWN_ERROR = 1.0
"""What a line of two points is taken to be off between them: there is none to leave out."""


@dataclass(frozen=True, slots=True)
class LineId:
    """Which line: a table, the size that grows along it, and the others."""

    key: TableKey
    growing: str
    others: Point
    """The point with 0 for the size that grows."""

    def probe(self, size: int) -> Probe:
        """The line's point at this size."""
        place = DIMENSIONS[self.key.operation].index(self.growing)
        return Probe(self.key, (*self.others[:place], size, *self.others[place + 1 :]))


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval of a line that a further point would halve, and what it is worth."""

    line: LineId
    low: int
    high: int
    middle: int
    error: float


@dataclass
class Line:
    """The measured points of one line; adding one forgets what was derived."""

    name: LineId
    device: Accelerator
    measured: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    """Size to seconds and spread."""

    def add(self, size: int, seconds: float, spread: float) -> None:
        """One more point."""
        self.measured[size] = (seconds, spread if spread > 0 else 0.0)
        self.__dict__.pop("errors", None)

    @property
    def sizes(self) -> list[int]:
        """The measured sizes, ascending."""
        return sorted(self.measured)

    @cached_property
    def errors(self) -> Floats:
        """Relative errors of the points inside, each predicted from its two neighbours."""
        at = np.array(self.sizes, np.float64)
        if len(at) < 3:
            return np.zeros(0)
        seconds = np.array([self.measured[size][0] for size in self.sizes])
        return Curve(at, seconds, self._ideal).left_out()

    def gaps(self) -> list[Gap]:
        """The intervals that can be split; each is worth the worst error at its ends.

        Errors count as far as they exceed the spread of the point: noise is not mended by points.
        """
        sizes = self.sizes
        spread = np.array([self.measured[size][1] for size in sizes])
        worth = np.zeros(len(sizes))
        worth[1:-1] = np.maximum(np.abs(self.errors) - spread[1:-1], 0.0) if len(sizes) > 2 else 0.0
        if len(sizes) == 2:
            worth[:] = UNKNOWN_ERROR
        found: list[Gap] = []
        for place, (low, high) in enumerate(pairwise(sizes)):
            middle = between(low, high)
            if middle is not None:
                error = float(max(worth[place], worth[place + 1]))
                found.append(Gap(self.name, low, high, middle, error))
        return found

    def _ideal(self, sizes: Floats) -> Floats:
        others = self.name.probe(0).sizes
        known = {name: np.full(len(sizes), float(size)) for name, size in others.items()}
        return ideal_work(self.name.key, {**known, self.name.growing: sizes}, self.device)


def lines_through(probe: Probe) -> list[tuple[LineId, int]]:
    """The lines that a point lies on, one for each growing size, and its place on them."""
    sizes = probe.sizes
    found: list[tuple[LineId, int]] = []
    for growing in GROWING[probe.key.operation]:
        others = tuple(0 if name == growing else size for name, size in sizes.items())
        found.append((LineId(probe.key, growing, others), sizes[growing]))
    return found


def left_out_errors(table: CostTable, device: Accelerator) -> Floats:
    """Relative errors of the points of a table, each predicted from its neighbours on a line.

    Empty for operations that are not profiled.
    """
    lines: dict[LineId, Line] = {}
    if table.key.operation in GROWING:
        rows = zip(table.points.tolist(), table.seconds.tolist(), strict=True)
        for point, seconds in rows:
            for name, size in lines_through(Probe(table.key, tuple(point))):
                lines.setdefault(name, Line(name, device)).add(size, seconds, 0.0)
    return np.concatenate([np.zeros(0), *(line.errors for line in lines.values())])
