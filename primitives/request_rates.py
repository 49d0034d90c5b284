"""How requests differ in what is accepted of their drafts.

A request has a level z, normal over the requests; its chance at a position whose mean is s is
Φ((Φ⁻¹(s) + √ρ z) / √(1 − ρ)), whose mean over z is s for every ρ (the probit-normal model).
"""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_BISECTIONS = 40


def widest_spread(mean: float) -> float:
    """The standard deviation of chances that are all 0 or 1 and have this mean."""
    return math.sqrt(mean * (1 - mean))


@lru_cache(maxsize=4096)
def request_rates(
    means: tuple[float, ...], spread: float, seed: int, request: int
) -> tuple[float, ...]:
    """A request's own chances by position, drawn by (seed, request).

    Over all requests each has its mean, and the first one the standard deviation `spread`, which
    lies between 0 and `widest_spread` of it.
    """
    key = f"{seed}/{request}".encode()
    bits = int.from_bytes(blake2b(key, digest_size=8).digest()) >> 12
    drawn = (bits + 0.5) / 2**52  # exact, and never 0 or 1
    level, correlation = _NORMAL.inv_cdf(drawn), _correlation(means[0], spread)
    return tuple(_own(mean, correlation, level) for mean in means)


@lru_cache(maxsize=64)
def _correlation(mean: float, spread: float) -> float:
    """The ρ by which chances of this mean have this standard deviation, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        own = np.array([_own(mean, middle, float(node)) for node in _NODES])
        variance = float((_WEIGHTS * (own - mean) ** 2).sum()) / math.sqrt(2 * math.pi)
        low, high = (middle, high) if variance < spread**2 else (low, middle)
    return low


def _own(mean: float, correlation: float, level: float) -> float:
    if mean in (0.0, 1.0):
        return mean
    shifted = _NORMAL.inv_cdf(mean) + math.sqrt(correlation) * level
    return _NORMAL.cdf(shifted / math.sqrt(1 - correlation))
