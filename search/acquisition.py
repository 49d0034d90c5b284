"""What looking at a point may bring: how much better than the best seen, and how likely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


def expected_improvement(best: float, mean: Floats, sd: Floats) -> Floats:
    """By how much, on average, a value falls below `best`, and 0 where it does not.

    Values are normal (Jones, Schonlau and Welch 1998).
    """
    gap = best - mean
    scaled = gap / sd
    density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(gap * ndtr(scaled) + sd * density, 0.0))


def chance_below(limit: float, mean: Floats, sd: Floats) -> Floats:
    """The probability that a normal value is at most `limit`."""
    return np.asarray(ndtr((limit - mean) / sd), dtype=np.float64)
