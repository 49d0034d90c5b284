"""The monotone envelope: more work never takes less time, so what says otherwise is noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.utilisation import Floats


def envelope(at: NDArray[np.float64], seconds: Floats) -> Floats:
    """Each point's least seconds over all points that are nowhere smaller, itself included.

    `at` has a column for each size that grows. Monotone where it was not, unchanged where it was.
    """
    places = tuple(_ranks(column) for column in at.T)
    full = np.full([int(place.max(initial=0)) + 1 for place in places], np.inf)
    np.minimum.at(full, places, seconds)
    for axis in range(full.ndim):
        full = np.flip(np.minimum.accumulate(np.flip(full, axis), axis), axis)
    return np.asarray(full[places])


def _ranks(column: Floats) -> NDArray[np.intp]:
    """The place of each entry among the different ones, in ascending order."""
    order = np.sort(column)
    return np.searchsorted(order[np.diff(order, prepend=-np.inf) > 0], column)
