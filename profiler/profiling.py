"""Measuring a device: the coarse grid first, then where it pays, until the time is used up.

Points that the store already has from the same kernels are not measured again. What was measured is
handed over at intervals and at the end, also when the run is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey
from servecast.profiler.cost_rows import CostRows
from servecast.profiler.probe import GROWING, Bench, Probe, Timing
from servecast.profiler.probe_work import ideal_work
from servecast.profiler.refinement import Refinement

SAVE_EVERY_S = 10.0
LONGEST_SHARE = 0.005
"""A call may take this share of the time there is; what is expected to take longer is left out."""


@dataclass
class Progress:
    """How far profiling is; what a caller shows while it runs and after."""

    measured: int = 0
    known: int = 0
    """Points of the coarse grid that were there before."""
    refused: dict[str, list[Probe]] = field(default_factory=dict[str, list[Probe]])
    """Reason to the points that could not be measured."""
    is_complete: bool = False
    """Whether it ended because no further point pays, not because time was up."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The time there is, and the clock it is read from."""

    seconds: float
    clock: Callable[[], float]


class Profiling:
    """One run of a bench over a grid; `run` does it once."""

    def __init__(
        self,
        bench: Bench,
        device: Accelerator,
        held: CostStore,
        save: Callable[[CostStore], None],
        origin: str,
    ) -> None:
        """`held` is what was measured before; `save` gets it together with all new points."""
        self._bench, self._held, self._save = bench, held, save
        self._device, self._origin = device, origin
        self._refinement = Refinement(device)
        self._rows: list[tuple[TableKey, Probe, Timing]] = []
        self._known: set[Probe] = set()
        self._slowest: dict[tuple[object, ...], tuple[float, float]] = {}
        self.progress = Progress()

    def run(
        self, coarse: Sequence[Probe], budget: Budget, step: Callable[[Progress], None]
    ) -> CostStore:
        """Everything that is measured at the end; `step` is called after every point."""
        self._take_over(coarse)
        start = last_save = budget.clock()
        queue = [probe for probe in coarse if probe not in self._known]
        try:
            while (now := budget.clock()) < start + budget.seconds:
                queue = queue or self._refinement.next()
                if not queue:
                    self.progress.is_complete = True
                    break
                self._measure(queue.pop(0), budget.seconds * LONGEST_SHARE)
                step(self.progress)
                if now > last_save + SAVE_EVERY_S:
                    self._save(self._store())
                    last_save = now
        finally:
            store = self._store()
            if self._rows:
                self._save(store)
        return store

    def _take_over(self, coarse: Sequence[Probe]) -> None:
        """Count the held points of the shapes asked for as measured."""
        wanted, keys = {_shape(probe) for probe in coarse}, {probe.key for probe in coarse}
        for table in self._held:
            for probe, seconds, spread in _probes(table) if table.key in keys else ():
                if _shape(probe) in wanted:
                    self._add(probe, seconds, spread)
        self.progress.known = sum(probe in self._known for probe in coarse)

    def _measure(self, probe: Probe, longest_s: float) -> None:
        expected_s = self._expected_s(probe)
        try:
            if expected_s > longest_s:
                raise UnsupportedError(f"a call would take more than {longest_s:.3g} s")
            timing = self._bench.time(probe)
        except UnsupportedError as error:
            self.progress.refused.setdefault(error.message, []).append(probe)
            self._refinement.refuse(probe)
            return
        self.progress.measured += 1
        self._rows.append((probe.key, probe, timing))
        if timing.eager is not None:
            self._rows.append((replace(probe.key, is_eager=True), probe, timing.eager))
        self._add(probe, timing.seconds, timing.spread)

    def _add(self, probe: Probe, seconds: float, spread: float) -> None:
        self._known.add(probe)
        self._refinement.add(probe, seconds, spread)
        shape, slowest = _shape(probe), (self._work(probe), seconds)
        self._slowest[shape] = max(slowest, self._slowest.get(shape, slowest))

    def _expected_s(self, probe: Probe) -> float:
        """Seconds of a call as the largest one of its shape suggests; 0 where there is none."""
        work, seconds = self._slowest.get(_shape(probe), (1.0, 0.0))
        return seconds * max(self._work(probe) / work, 1.0)

    def _work(self, probe: Probe) -> float:
        """What the time of large calls of one shape goes with."""
        sizes = {name: np.array([float(size)]) for name, size in probe.sizes.items()}
        return float(ideal_work(probe.key, sizes, self._device)[0])

    def _store(self) -> CostStore:
        rows = CostRows(self._origin)
        for key, probe, timing in self._rows:
            at, spread = np.array([timing.seconds]), np.array([timing.spread])
            rows.add(key, probe.point, at, spread)
        store = CostStore(self._held)
        store.merge(CostStore(rows.tables()))
        return store


def _shape(probe: Probe) -> tuple[object, ...]:
    """What points of one shape share."""
    growing = GROWING[probe.key.operation]
    return probe.key, *(size for name, size in probe.sizes.items() if name not in growing)


def _probes(table: CostTable) -> list[tuple[Probe, float, float]]:
    """The points of a table as probes, with seconds and spread."""
    rows = zip(table.points.tolist(), table.seconds.tolist(), table.spread.tolist(), strict=True)
    return [(Probe(table.key, tuple(point)), seconds, spread) for point, seconds, spread in rows]
