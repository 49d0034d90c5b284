"""One rung of the ladder: which point is worth looking at next, by all that was seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, log

import numpy as np
from numpy.typing import NDArray

from servecast.search.acquisition import chance_below, expected_improvement
from servecast.search.answers import Answer
from servecast.search.correction import Correction
from servecast.search.points import Points
from servecast.simulator.objective import Objective
from servecast.simulator.slo import Slo

Floats = NDArray[np.float64]

WORTH = 5e-4
"""The race is over when no point is expected to be better by this share of the objective."""
POOL = 2_000
"""Points that are weighed at every look; which ones they are is seen at every `REVIEW`-th."""
REVIEW = 12
_LEAST = 1e-3
"""Standard deviation of a logarithm below which nothing is known better."""


class Race:
    """Chooses points by expected improvement times the probability that every SLO is met.

    All is in logarithms: the forecast of the rung below, and a `Correction` of each column. With
    several objectives each look has weights of its own, drawn from `rng` (ParEGO, Knowles 2006).
    """

    def __init__(
        self,
        points: Points,
        objectives: Sequence[Objective],
        slos: Sequence[Slo],
        rng: np.random.Generator,
        *,
        forecast: Floats,
        doubt: Floats,
        prior: float,
    ) -> None:
        """`doubt` is the forecast's own standard deviation at each point, beside the common one,
        which is `prior` before anything was seen."""
        self.stopped = ""
        """Why `next` said None."""
        self.corrections = [Correction(prior) for _ in range(forecast.shape[1])]
        self.seen: dict[int, Answer] = {}
        """By row of `points`, in the order of looking."""
        self._points = points
        self.slos = slos
        self._signs = np.array([1.0 if o.direction == "minimise" else -1.0 for o in objectives])
        self._rng = rng
        self._forecast = forecast
        self._doubt = doubt
        self._alive = ~points.hopeless
        if not self._alive.any():
            self._alive[:] = True
        self._pool = np.flatnonzero(self._alive)

    def next(self) -> int | None:
        """The point to look at, or None where none is worth it."""
        if len(self.seen) % REVIEW == 0:
            self._pool = np.flatnonzero(self._alive)
        rows = self._pool[self._alive[self._pool]]
        if not len(rows):
            self.stopped = "every point was looked at"
            return None
        weights = self._weights()
        worth = np.concatenate([self._worth(part, weights) for part in _parts(rows)])
        if len(rows) > POOL:
            self._pool = rows[np.argsort(-worth, kind="stable")[:POOL]]
        if self._best(weights) < inf and float(worth.max()) < WORTH:
            self.stopped = "no other point is expected to be better"
            return None
        return int(rows[int(np.argmax(worth))])

    def learn(self, row: int, answer: Answer) -> None:
        """What the rung found at a point."""
        self.seen[row] = answer
        self._alive[row] = False
        found = logarithms(answer, self.slos)
        for column, correction in enumerate(self.corrections):
            if isfinite(found[column]):
                error = found[column] - self._forecast[row, column]
                correction.learn(self._points.places[row], error)

    def spare(self, rows: NDArray[np.intp]) -> None:
        """These are answered already, by a point like them."""
        self._alive[rows] = False

    def corrected(self, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """What is expected of each column at these points, and its standard deviation."""
        means, deviations = (
            self._forecast[rows].copy(),
            np.empty((len(rows), len(self.corrections))),
        )
        for column, correction in enumerate(self.corrections):
            error, sd = correction.at(self._points.places[rows])
            means[:, column] += error
            deviations[:, column] = np.maximum(np.hypot(sd, self._doubt[rows, column]), _LEAST)
        return means, deviations

    def _worth(self, rows: NDArray[np.intp], weights: Floats) -> Floats:
        means, deviations = self.corrected(rows)
        count = len(self._signs)
        likely = np.ones(len(rows))
        for column, slo in enumerate(self.slos, start=count):
            mean, sign = means[:, column], 1.0 if slo.is_latency else -1.0
            limit = sign * log(slo.threshold)
            likely *= chance_below(limit, sign * mean, deviations[:, column])
        value = (means[:, :count] * self._signs) @ weights
        sd = np.sqrt((deviations[:, :count] ** 2) @ weights**2)
        best = self._best(weights)
        if best == inf:  # nothing meets the SLOs yet: what probably does, and the better first
            return np.asarray(likely * np.exp(value.min() - value))
        return expected_improvement(best, value, sd) * likely

    def _best(self, weights: Floats) -> float:
        """The least weighted objective of those that meet the SLOs."""
        values = [
            float((logarithms(answer, ())[: len(weights)] * self._signs) @ weights)
            for answer in self.seen.values()
            if answer.is_feasible
        ]
        return min((value for value in values if isfinite(value)), default=inf)

    def _weights(self) -> Floats:
        if len(self._signs) == 1:
            return np.ones(1)
        return np.asarray(self._rng.dirichlet(np.ones(len(self._signs))), dtype=np.float64)


def logarithms(answer: Answer, slos: Sequence[Slo]) -> Floats:
    """Of an answer's objectives and of what its SLOs bound; NaN where there is none."""
    values = [*answer.values]
    for slo, missed in zip(slos, answer.violations, strict=False):
        values.append(slo.threshold * (1 + (missed if slo.is_latency else -missed)))
    known = np.array(values, dtype=np.float64)
    sound = np.isfinite(known) & (known > 0) & (known < 1e5 * _scale(slos, len(answer.values)))
    return np.log(known, where=sound, out=np.full(len(known), np.nan))


def _scale(slos: Sequence[Slo], objectives: int) -> Floats:
    """What a value is compared with to see that it is one: undefined violations are huge."""
    return np.array([1e9] * objectives + [slo.threshold for slo in slos])


def _parts(rows: NDArray[np.intp], size: int = 20_000) -> list[NDArray[np.intp]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
