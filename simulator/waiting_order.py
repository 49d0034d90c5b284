"""In which order SGLang looks at who waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.simulator.radix_cache import Match, RadixCache
from servecast.simulator.radix_order import heaviest_first
from servecast.simulator.request import Request
from servecast.traces.prefixes import cut

MOST_MATCHED = 128
"""A longer queue is not ordered by what is cached of it."""
REFRESH_PASSES = 32
"""Every so many passes the cached beginnings of those who wait count as used."""
SHORT_TOKENS = 32
"""Of a prompt of which no more is cached, it matters whether another one begins alike."""


class WaitingOrder:
    """First come, longest output first, along the tree of what is cached, or most cached first:
    then of those who begin alike, and have next to nothing cached, the first goes ahead and the
    others wait for what it computes.
    """

    def __init__(
        self,
        policy: SglangSchedulePolicy,
        cache: RadixCache | None,
        declared_tokens: Callable[[Request], int],
    ) -> None:
        """`declared_tokens` tells a request's longest output; a `cache` is looked at and used."""
        is_blind = cache is None and policy in ("dfs-weight", "lpm")
        self._policy: SglangSchedulePolicy = "fcfs" if is_blind else policy
        self._cache = cache
        self._declared_tokens = declared_tokens
        self._passes = 0

    def sort(self, waiting: deque[Request]) -> deque[Request]:
        """Those who wait in the order of one pass; it is kept for the next one."""
        cache = self._cache
        if cache is not None and self._policy == "dfs-weight":
            ends = [_whole(request, cache).node for request in waiting]
            return deque(waiting[place] for place in heaviest_first(cache.root, ends))
        if cache is not None and self._policy == "lpm" and len(waiting) <= MOST_MATCHED:
            return _by_cached(waiting, cache)
        if self._policy == "lof":
            waiting = deque(sorted(waiting, key=self._declared_tokens, reverse=True))
        if cache is not None and waiting:
            if self._passes % REFRESH_PASSES == 0:
                for request in reversed(list(waiting)[:MOST_MATCHED]):
                    _whole(request, cache)
            self._passes += 1
        return waiting


def _whole(request: Request, cache: RadixCache) -> Match:
    """What is cached of all of a request's text, used just now."""
    return cache.find(request, cache.pages_of(request.num_tokens))


def _by_cached(waiting: deque[Request], cache: RadixCache) -> deque[Request]:
    begun: set[tuple[tuple[int, int], ...]] = set()
    keys: dict[Request, float] = {}
    for request in waiting:
        tokens = _whole(request, cache).pages * cache.block_size
        keys[request] = -min(tokens, request.num_tokens - 1)
        if tokens <= SHORT_TOKENS and request.num_tokens >= SHORT_TOKENS:
            begin = tuple(cut(request.chain, -(-SHORT_TOKENS // cache.block_size)))
            if begin in begun:
                keys[request] = float("inf")
            begun.add(begin)
    return deque(sorted(waiting, key=keys.__getitem__))
