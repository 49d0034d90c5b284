"""Least squares whose coefficients are times, which are not below 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def not_negative(rows: Floats, seconds: Floats) -> Floats:
    """Coefficients by which `rows` come nearest to `seconds`.

    Columns that would get one below 0 get 0, the most negative first.
    """
    kept = np.flatnonzero(np.any(rows > 0, axis=0))
    found = np.zeros(rows.shape[1])
    while len(kept):
        scale = np.linalg.norm(rows[:, kept], axis=0)
        inverse = np.asarray(np.linalg.pinv(rows[:, kept] / scale), dtype=np.float64)
        solved = inverse @ seconds / scale
        if np.all(solved >= 0.0):
            found[kept] = solved
            break
        kept = np.delete(kept, np.argmin(solved * scale))
    return found
