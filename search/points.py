"""Every deployment of a space at every number of replicas, and what the estimate says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from servecast.search.estimate import Estimate
from servecast.search.estimated import hourly, objective_values, slo_values
from servecast.search.evaluator import Evaluator
from servecast.search.space import Candidate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Points:
    """Columns, a row for each candidate at each of its numbers of replicas."""

    candidates: Sequence[Candidate]
    candidate: Ints
    """Which candidate."""
    replicas: Ints
    forecast: Floats
    """Natural logarithms of the objectives, then of what the SLOs bound; 0 where none is known."""
    places: Floats
    """Where each lies: its choice and its load, every axis from 0 to 1."""
    hopeless: NDArray[np.bool_]
    """Overloaded, or slower without any load than an SLO allows: by the estimate alone."""
    families: dict[str, dict[object, NDArray[np.intp]]] = field(default_factory=dict, repr=False)
    """Rows that are alike but for a dimension, once somebody asked."""

    def __len__(self) -> int:
        return len(self.replicas)

    def candidate_at(self, row: int) -> Candidate:
        """The candidate of a point."""
        return self.candidates[int(self.candidate[row])]

    def siblings(self, row: int, dimension: str) -> NDArray[np.intp]:
        """The points that differ from one in a dimension of their choice alone, itself included."""
        return self._families(dimension)[self._family(row, dimension)]

    def _families(self, dimension: str) -> dict[object, NDArray[np.intp]]:
        if dimension not in self.families:
            found: dict[object, list[int]] = {}
            for row in range(len(self)):
                found.setdefault(self._family(row, dimension), []).append(row)
            self.families[dimension] = {key: np.array(rows) for key, rows in found.items()}
        return self.families[dimension]

    def _family(self, row: int, dimension: str) -> object:
        choice = self.candidate_at(row).choice
        rest = tuple(value for name, value in choice.items() if name != dimension)
        return (int(self.replicas[row]), rest)


def points_of(evaluator: Evaluator, candidates: Sequence[Candidate]) -> Points:
    """All points of the candidates, priced: at each number of replicas that may be wanted."""
    counts = [evaluator.replica_counts(candidate) for candidate in candidates]
    candidate = np.repeat(np.arange(len(candidates)), [len(each) for each in counts])
    replicas = np.array([count for each in counts for count in each], dtype=np.int64)
    rows = [candidates[number] for number in candidate.tolist()]
    priced = evaluator.estimate(rows, replicas.tolist())
    return Points(
        candidates,
        candidate,
        replicas,
        _forecast(evaluator, rows, replicas, priced),
        _places(rows, replicas, priced),
        evaluator.hopeless(rows, priced),
    )


def _forecast(
    evaluator: Evaluator, rows: Sequence[Candidate], replicas: Ints, priced: Estimate
) -> Floats:
    each = np.array([float(row.deployment.gpus_per_replica) for row in rows])
    gpus = replicas.astype(np.float64) * each
    columns: list[Floats] = []
    for objective in evaluator.objectives:
        prices = np.array([hourly(objective, row.deployment) for row in rows])
        columns.append(objective_values(priced, objective, gpus, prices))
    columns += [slo_values(priced, slo) for slo in evaluator.slos]
    values = np.column_stack(columns)
    known = np.isfinite(values) & (values > 0)
    return np.log(values, where=known, out=np.zeros_like(values))


def _places(rows: Sequence[Candidate], replicas: Ints, priced: Estimate) -> Floats:
    axes: list[Floats] = [np.log(replicas), np.log(np.clip(priced.utilisation, 0.05, 2.0))]
    for name in rows[0].choice:
        values = [each.choice[name] for each in rows]
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            numbers = np.array(values, dtype=np.float64)
            axes.append(np.log(numbers) if (numbers > 0).all() else numbers)
            continue
        known = sorted(set(map(str, values)))
        axes += [np.array([str(value) == one for value in values], float) for one in known[1:]]
    return np.column_stack([_unit(axis) for axis in axes])


def _unit(axis: Floats) -> Floats:
    spread = float(np.ptp(axis))
    return (axis - axis.min()) / spread if spread else np.zeros_like(axis)
