"""Where the next point is worth most: where leaving points out shows the largest error."""

from __future__ import annotations

import math

from servecast.primitives.accelerator import Accelerator
from servecast.profiler.probe import GROWING, Probe
from servecast.profiler.probe_grid import SHORT
from servecast.profiler.probe_lines import Gap, Line, LineId, lines_through

TOLERANCE = 0.02
"""Lines whose points predict each other this well, noise aside, need no more points."""


class Refinement:
    """The lines of all that was measured; profiling adds points and asks for the next ones."""

    def __init__(self, device: Accelerator) -> None:
        self._device = device
        self._lines: dict[LineId, Line] = {}
        self._gaps: dict[LineId, list[Gap]] = {}
        self._known: set[Probe] = set()

    def add(self, probe: Probe, seconds: float, spread: float) -> None:
        """A point that was measured."""
        self._known.add(probe)
        for name, size in lines_through(probe):
            line = self._lines.setdefault(name, Line(name, self._device))
            line.add(size, seconds, spread)
            self._gaps[name] = line.gaps()

    def refuse(self, probe: Probe) -> None:
        """A point that cannot be measured, and is not to be asked for again."""
        self._known.add(probe)

    def next(self) -> list[Probe]:
        """The points to measure next; none where every line is within the tolerance.

        One point of a curve, or a whole row of a grid: readers take a row as a curve of its own.
        """
        gaps = [gap for found in self._gaps.values() for gap in found if gap.error > TOLERANCE]
        gaps.sort(key=self._worth, reverse=True)
        for gap in gaps:
            probes = [probe for probe in self._probes(gap) if probe not in self._known]
            if probes:
                return probes
        return []

    def _worth(self, gap: Gap) -> float:
        """The error over the octaves that it concerns, for each point that mending it takes."""
        points = 1
        if gap.line.growing != GROWING[gap.line.key.operation][-1]:
            low, high = (self._columns(gap.line.probe(size)) for size in (gap.low, gap.high))
            points = max(len(low & high), 1)
        return gap.error * math.log2(gap.high / (gap.low or SHORT)) / points

    def _probes(self, gap: Gap) -> list[Probe]:
        """The gap's middle; across rows, at every column that both rows around it have."""
        growing = GROWING[gap.line.key.operation]
        if gap.line.growing == growing[-1]:
            return [gap.line.probe(gap.middle)]
        low, high = (self._columns(gap.line.probe(size)) for size in (gap.low, gap.high))
        found: list[Probe] = []
        for size in sorted(low & high):
            (_, _), (row, _) = lines_through(gap.line.probe(gap.middle))
            found.append(row.probe(size))
        return found

    def _columns(self, probe: Probe) -> set[int]:
        """The measured columns of the row that a point lies in."""
        row, _ = lines_through(probe)[-1]
        line = self._lines.get(row)
        return set(line.measured) if line else set()
