"""When decoding requests fill KV blocks that others may look for."""

from __future__ import annotations

from heapq import heappop, heappush

from servecast.simulator.prefix_cache import PrefixCache
from servecast.simulator.request import Request


class Fills:
    """Decoding requests whose output has ids that other prompts may begin with.

    An engine notes each block at the step that fills it. Here that is made up for, in the same
    order, before anybody looks or notes another.
    """

    __slots__ = ("_cache", "_coming", "_order", "_requests")

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache
        self._coming: list[tuple[int, int, Request]] = []
        self._order = 0
        self._requests: dict[Request, int] = {}
        """The order they began to decode in, which is that of their admission."""

    def add(self, request: Request, steps: int) -> None:
        """Follow a request that begins to decode after `steps` steps of its group."""
        if request.num_cached_blocks < request.named_blocks():
            self._order += 1
            self._requests[request] = self._order
            self._expect(request, request.num_computed_tokens - steps)

    def remove(self, request: Request) -> None:
        """No longer follow a request, if it is followed."""
        self._requests.pop(request, None)

    def note(self, steps: int) -> None:
        """Note what the group's first `steps` steps have filled."""
        coming = self._coming
        while coming and coming[0][0] < steps:
            _, order, request = heappop(coming)
            if self._requests.get(request) == order:
                self._cache.cache(request, request.num_cached_blocks + 1)
                if request.num_cached_blocks < request.named_blocks():
                    self._expect(request, request.base)
                else:
                    del self._requests[request]

    def next_step(self) -> int | None:
        """The step of the group that fills the next block, if any will."""
        while self._coming and self._requests.get(self._coming[0][2]) != self._coming[0][1]:
            heappop(self._coming)
        return self._coming[0][0] if self._coming else None

    def _expect(self, request: Request, base: int) -> None:
        tokens = (request.num_cached_blocks + 1) * self._cache.block_size
        heappush(self._coming, (tokens - 1 - base, self._requests[request], request))
