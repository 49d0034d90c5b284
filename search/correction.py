"""How far a rung is off, learnt from the points that the rung above has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH = 0.7
"""How far, in axes from 0 to 1, two points err alike."""
NUGGET = 0.02
"""Share of the errors' variance that no neighbour tells."""


class Correction:
    """A Gaussian process over the errors of one logarithm, with a mean that is not known.

    Before anything was seen the error is 0, give or take `doubt`.
    """

    def __init__(self, doubt: float) -> None:
        self._doubt = doubt
        self._places: list[Floats] = []
        self._errors: list[float] = []
        self._fitted: _Fit | None = None

    def __len__(self) -> int:
        return len(self._errors)

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
            self._fitted = _fit(np.array(self._places), np.array(self._errors), self._doubt)
        fit = self._fitted
        cross = _alike(places, fit.known)
        explained = ((cross @ fit.solve) * cross).sum(axis=1)
        spread = fit.variance * np.maximum(1.0 + NUGGET - explained, NUGGET)
        return fit.mean + cross @ fit.pull, np.sqrt(spread)


@dataclass(frozen=True, slots=True)
class _Fit:
    """The process given what was seen."""

    known: Floats
    solve: Floats
    """Inverse of the correlations."""
    mean: float
    pull: Floats
    """What each seen point adds, by its correlation."""
    variance: float


def _fit(known: Floats, errors: Floats, doubt: float) -> _Fit:
    """The mean by least squares, drawn to 0; the variance as if two more had erred by `doubt`."""
    solve = np.linalg.inv(_alike(known, known) + NUGGET * np.eye(len(known)))
    ones = solve.sum(axis=1)
    mean = float(ones @ errors) / (float(ones.sum()) + 0.5)
    pull = solve @ (errors - mean)
    variance = (2 * doubt**2 + float((errors - mean) @ pull)) / (2 + len(known))
    return _Fit(known, solve, mean, pull, variance)


def _alike(one: Floats, other: Floats) -> Floats:
    """Matérn 3/2."""
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    far = np.sqrt(np.maximum(square, 0.0)) * (np.sqrt(3.0) / REACH)
    return np.asarray((1.0 + far) * np.exp(-far))
