"""Forms of acceptance: by position, the chance that this draft and all before it are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul


def decaying(first: float, decay: float, positions: int) -> tuple[float, ...]:
    """Each draft accepted, after those before it, `decay` times as often as the one before it.

    A decay above 1 is one of drafts that get easier: no chance exceeds 1.
    """
    chances = (min(1.0, first * decay**place) for place in range(positions))
    return tuple(accumulate(chances, mul))


def constant(rate: float, positions: int) -> tuple[float, ...]:
    """Each draft accepted equally often after those before it: independent and all alike."""
    return decaying(rate, 1.0, positions)


def tokens_per_step(acceptance: Sequence[float]) -> float:
    """Tokens that a verifying step yields on average: the accepted drafts and one of the target.

    With a constant rate a and K drafts it is (1 - a^(K+1)) / (1 - a) (Leviathan and others, 2023).
    """
    return 1.0 + sum(acceptance)
