"""Numbers that are a matter of (seed, request, position) alone, one by one or many at once.

SplitMix64 (Steele, Lea and Flood, 2014): the request's key is the state, the position its counter.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


def drawn(seed: int, request: int, position: int) -> float:
    """A number from 0 to below 1."""
    mixed = (_key(seed, request) + position * _STEP) & _MASK
    mixed = ((mixed ^ mixed >> 30) * _FIRST) & _MASK
    mixed = ((mixed ^ mixed >> 27) * _SECOND) & _MASK
    return ((mixed ^ mixed >> 31) >> 11) / 2**53


def all_drawn(seed: int, request: int, first: int, last: int) -> NDArray[np.float64]:
    """The same for each position from `first` to below `last`."""
    positions = np.arange(first, last, dtype=np.uint64)
    mixed = positions * np.uint64(_STEP) + np.uint64(_key(seed, request))
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(_FIRST)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(_SECOND)
    return ((mixed ^ mixed >> np.uint64(31)) >> np.uint64(11)).astype(np.float64) / 2**53


@lru_cache(maxsize=4096)
def _key(seed: int, request: int) -> int:
    digest = blake2b(f"{seed}/{request}/drafts".encode(), digest_size=8).digest()
    return int.from_bytes(digest)
