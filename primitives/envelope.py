"""The monotone envelope: more work never takes less time, so a spike above a later point is noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.utilisation import Floats


def envelope(at: NDArray[np.float64], seconds: Floats) -> Floats:
    """Each point's least seconds over all points that are nowhere smaller, itself included.

    `at` has a column for each size that grows. Monotone where it was not, unchanged where it was.
    """
    places = [np.unique(column, return_inverse=True) for column in at.T]
    full = np.full([len(values) for values, _ in places], np.inf)
    where = tuple(place for _, place in places)
    full[where] = seconds
    for axis in range(full.ndim):
        full = np.flip(np.minimum.accumulate(np.flip(full, axis), axis), axis)
    return np.asarray(full[where])
