"""How far a rung is off, learnt from the points that the rung above has seen."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACHES = (0.5, 1.0, 3.0, 10.0)
"""How far along an axis, which runs from 0 to 1, two points err alike: what is tried."""
NUGGET = 0.02
"""Share of the errors' variance that no neighbour tells."""
PRIOR_LOOKS = 4
"""The variance is found as if so many more had erred by the doubt."""
TUNED_EVERY = 8
"""Looks after which the reaches are found anew."""


class Correction:
    """A Gaussian process over the errors of one logarithm, with a mean that is not known.

    Before anything was seen the error is 0, give or take `doubt`.
    """

    def __init__(self, doubt: float) -> None:
        self._doubt = doubt
        self._places: list[Floats] = []
        self._errors: list[float] = []
        self._fitted: _Fit | None = None
        self._tuned: int | None = None
        self._reaches: Floats = np.ones(1)

    def learn(self, place: Floats, error: float) -> None:
        """The value above, less that below, at a point."""
        self._places.append(place)
        self._errors.append(error)
        self._fitted = None

    def at(self, places: Floats) -> tuple[Floats, Floats]:
        """The expected error at each of `places`, and its standard deviation."""
        if not self._errors:
            return np.zeros(len(places)), np.full(len(places), self._doubt)
        if self._fitted is None:
            self._fitted = self._fit()
        fit = self._fitted
        cross = _alike(places / self._reaches, fit.known)
        explained = ((cross @ fit.solve) * cross).sum(axis=1)
        spread = fit.variance * np.maximum(1.0 + NUGGET - explained, NUGGET)
        return fit.mean + cross @ fit.pull, np.sqrt(spread)

    def _fit(self) -> _Fit:
        known, errors = np.array(self._places), np.array(self._errors)
        if self._tuned is None or len(known) >= self._tuned + TUNED_EVERY:
            self._tuned = len(known)
            self._reaches = _reaches(known, errors, self._doubt)
        return _fit(known / self._reaches, errors, self._doubt)


@dataclass(frozen=True, slots=True)
class _Fit:
    """The process given what was seen."""

    known: Floats
    """Places by their reach."""
    solve: Floats
    """Inverse of the correlations."""
    mean: float
    pull: Floats
    """What each seen point adds, by its correlation."""
    variance: float
    likelihood: float
    """Logarithm, but for a constant."""


def _fit(known: Floats, errors: Floats, doubt: float) -> _Fit:
    """The mean by least squares, drawn to 0; the variance drawn to the doubt's."""
    count = len(known)
    system = _alike(known, known) + NUGGET * np.eye(count)
    solve = np.linalg.inv(system)
    ones = solve.sum(axis=1)
    mean = float(ones @ errors) / (float(ones.sum()) + 0.5)
    pull = solve @ (errors - mean)
    square = PRIOR_LOOKS * doubt**2 + float((errors - mean) @ pull)
    variance = square / (PRIOR_LOOKS + count)
    size = float(np.linalg.slogdet(system)[1])
    likelihood = -0.5 * (size + (PRIOR_LOOKS + count) * log(variance))
    return _Fit(known, np.asarray(solve, np.float64), mean, pull, variance, likelihood)


def _reaches(known: Floats, errors: Floats, doubt: float) -> Floats:
    """The likeliest reach along each axis, found axis by axis."""
    best = np.full(known.shape[1], REACHES[1])
    for axis in range(known.shape[1]):
        tried = [np.where(np.arange(len(best)) == axis, reach, best) for reach in REACHES]
        best = max(tried, key=lambda reaches: _fit(known / reaches, errors, doubt).likelihood)
    return best


def _alike(one: Floats, other: Floats) -> Floats:
    """Matérn 3/2."""
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    far = np.sqrt(np.maximum(square, 0.0)) * np.sqrt(3.0)
    return np.asarray((1.0 + far) * np.exp(-far))
