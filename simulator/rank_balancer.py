"""Which data-parallel rank of one engine takes a request: vLLM's own front end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_HALF_FULL = 0.5
_PENALTY = 6.0
"""Of each waiting request, for the share of the KV cache above half that is in use."""


class Rank(Protocol):
    """What the front end knows of a rank."""

    @property
    def outstanding(self) -> int:
        """Requests sent to it whose last token is not out yet."""
        ...

    @property
    def waiting(self) -> int:
        """Those of them that it has not begun, or begins again."""
        ...

    def kv_used(self, now_ns: int) -> float:
        """Share of its KV blocks that requests hold."""
        ...


class RankBalancer:
    """`DPLBAsyncMPClient.get_core_engine_for_request` of vLLM 0.32.0, of one front end.

    The rank with the fewest requests, where those in line count more the fuller its KV cache is.
    Ties go to the next in turn. What vLLM's coordinator tells it every 100 ms is known at once.
    """

    def __init__(self) -> None:
        self._eng_start_index = 0

    def get_core_engine_for_request(self, ranks: Sequence[Rank], now_ns: int) -> int:
        """The number of the rank that takes the next request."""
        start, count = self._eng_start_index, len(ranks)
        self._eng_start_index = (start + 1) % count
        in_turn = [(start + place) % count for place in range(count)]
        return min(in_turn, key=lambda number: _score(ranks[number], now_ns))


def _score(rank: Rank, now_ns: int) -> float:
    waiting = rank.waiting
    if not waiting:
        return rank.outstanding
    above_half = max(0.0, rank.kv_used(now_ns) - _HALF_FULL)
    return rank.outstanding + waiting * _PENALTY * above_half
