"""The linearised problem of fitting few coefficients to many measured points, and its solution.

The log of forecast over measurement is taken as linear in the coefficients around a place. Groups
count alike, large misfits in proportion instead of squared, and every coefficient is drawn to its
default where nothing speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.coefficients import Coefficients

Values = NDArray[np.float64]

TRUST = np.array([0.10, 0.30])
"""Scatter of TPOT and TTFT that counts as one: the P90 of repeats of one configuration."""
HUBER = 1.5
"""Misfits beyond so many times TRUST count in proportion."""
CLIP = np.array([0.5, 1.0])
WEIGHT = np.array([1.0, 0.4])
"""The score: mean |ln ratio| of TPOT, and of TTFT at less weight, each cut off where a row says no
more than that it is wrong."""
TURNS = 12
SWEEPS = 200


@dataclass(frozen=True, slots=True)
class Unknown:
    """One coefficient: how it is scaled, what is taken for granted, what is physically possible."""

    name: str
    unit: float
    """What one of its place is in the file's unit; factors are fitted by their logarithm."""
    low: float
    high: float
    spread: float
    """How far from the default it is taken to lie beforehand, as a place."""
    step: float
    """Of the finite difference, as a place."""
    is_factor: bool = False
    engine: str | None = None
    """The one engine whose rows it changes."""
    default_value: float | None = None
    """Without any fit; left out, that of the coefficient of its name."""

    @property
    def default(self) -> float:
        """Its place without any fit."""
        value = self.default_value
        return self.place(getattr(Coefficients(), self.name) if value is None else value)

    def place(self, value: float) -> float:
        """Where a value lies in the fit."""
        return float(np.log(value)) if self.is_factor else value / self.unit

    def value(self, place: float) -> float:
        """The value at a place."""
        return float(np.exp(place)) if self.is_factor else place * self.unit


def _factor(name: str) -> Unknown:
    return Unknown(name, 1.0, 0.5, 2.0, 0.25, 0.05, is_factor=True)


UNKNOWNS = (
    Unknown("vllm_step_s", 1e-3, 0.0, 5e-3, 1.0, 0.2, engine="vllm"),
    Unknown("vllm_async_step_s", 1e-3, 0.0, 5e-3, 1.0, 0.2, engine="vllm"),
    Unknown("sglang_step_s", 1e-3, 0.0, 5e-3, 1.0, 0.2, engine="sglang"),
    Unknown("trtllm_step_s", 1e-3, 0.0, 5e-3, 1.0, 0.2, engine="trtllm"),
    Unknown("sequence_s", 1e-6, 0.0, 100e-6, 10.0, 4.0),
    _factor("bandwidth_factor"),
    _factor("compute_factor"),
    _factor("blackwell_compute_factor"),
    _factor("experts_compute_factor"),
)
"""Every coefficient that may be kept."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Log ratios of (TPOT, TTFT) at a place and their slopes there; NaN where none counts."""

    unknowns: Sequence[Unknown]
    place: Values
    log_ratios: Values
    """Forecast over measurement, one row a point."""
    slopes: Values
    """(point, metric, unknown)."""
    groups: NDArray[np.str_]

    def names(self) -> list[str]:
        """The groups, each once."""
        return sorted({str(name) for name in self.groups})

    def only(self, chosen: Sequence[int]) -> Problem:
        """The problem with some of the unknowns; the others stay where they are."""
        unknowns = [self.unknowns[index] for index in chosen]
        return replace(
            self, unknowns=unknowns, place=self.place[chosen], slopes=self.slopes[..., chosen]
        )

    def solved(self, left_out: str | None = None) -> Values:
        """The place of least misfit, without one group's points if it is named."""
        taken = self.groups != left_out
        weights = self._group_weights(taken)[:, None] / TRUST**2
        start = np.array([each.default for each in self.unknowns])
        pull = np.array([each.spread**-2.0 for each in self.unknowns])
        found = self.place.copy()
        for _ in range(TURNS):
            misfit = self.at(found)
            size = np.abs(misfit / TRUST)
            lighter = weights * HUBER / np.maximum(np.nan_to_num(size), HUBER)
            lighter = np.where(np.isnan(misfit), 0.0, lighter).reshape(-1, 1)
            rows = self.slopes.reshape(self.log_ratios.size, len(found))
            wanted = rows @ self.place - np.nan_to_num(self.log_ratios).reshape(-1)
            hessian = (rows * lighter).T @ rows + np.diag(pull)
            found = self._bounded(hessian, (rows * lighter).T @ wanted + pull * start)
        return found

    def at(self, place: Values) -> Values:
        """Log ratios at a place, by the slopes."""
        return self.log_ratios + self.slopes @ (place - self.place)

    def left_out(self) -> Iterator[tuple[str, Values]]:
        """Every group with the place that all others lead to."""
        return ((name, self.solved(name)) for name in self.names())

    def left_out_score(self) -> float:
        """The score of every group at the place of all others."""
        misfit = np.empty_like(self.log_ratios)
        for name, place in self.left_out():
            own = self.groups == name
            misfit[own] = self.at(place)[own]
        return score(misfit, self.groups)

    def _group_weights(self, taken: NDArray[np.bool_]) -> Values:
        _, group, counts = np.unique(self.groups, return_inverse=True, return_counts=True)
        return np.where(taken, 1.0 / counts[group], 0.0)

    def _bounded(self, hessian: Values, target: Values) -> Values:
        """The minimum of the quadratic within the bounds, by cycling over the coordinates."""
        low = np.array([each.place(each.low) for each in self.unknowns])
        high = np.array([each.place(each.high) for each in self.unknowns])
        found = np.asarray(np.linalg.solve(hessian, target), dtype=np.float64)
        if np.all((low <= found) & (found <= high)):
            return found
        found = np.clip(found, low, high)
        for _ in range(SWEEPS):
            before = found.copy()
            for index in range(len(found)):
                rest = target[index] - hessian[index] @ found + hessian[index, index] * found[index]
                best = float(rest / hessian[index, index])
                found[index] = min(max(best, low[index]), high[index])
            if np.abs(found - before).max() < 1e-9:
                break
        return found


def score(log_ratios: Values, groups: NDArray[np.str_]) -> float:
    """Mean over groups of the mean cut-off misfit of their points; the lower the better."""
    cut = np.minimum(np.abs(log_ratios), CLIP) * WEIGHT
    each = np.nansum(cut, axis=1)
    return float(np.mean([each[groups == name].mean() for name in np.unique(groups)]))


def kept(problem: Problem, most: int, gain: float = 0.01) -> list[int]:
    """Unknowns worth having, best first: each lowers the left-out score by `gain` of it or more."""
    chosen: list[int] = []
    best = score(problem.log_ratios, problem.groups)
    while len(chosen) < most:
        rest = [index for index in range(len(problem.unknowns)) if index not in chosen]
        scores = {index: problem.only([*chosen, index]).left_out_score() for index in rest}
        index = min(scores, key=lambda each: scores[each])
        if scores[index] > best * (1 - gain):
            break
        chosen.append(index)
        best = scores[index]
    return chosen
