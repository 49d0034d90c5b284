"""Which decoding requests fill a KV block at which step of their group."""

from __future__ import annotations

from collections.abc import Iterator

from servecast.simulator.request import Request


class Filling:
    """Requests by the remainder of their bases: all of one fill a block at the same steps."""

    __slots__ = ("_block_size", "_by_remainder")

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._by_remainder: dict[int, dict[Request, int]] = {}
        """Each request with its base; in the order they began to decode."""

    def add(self, request: Request, steps: int) -> None:
        """Follow a request whose prompt was complete after `steps` steps of the group."""
        base = request.num_computed_tokens - steps
        self._by_remainder.setdefault(base % self._block_size, {})[request] = base

    def remove(self, request: Request) -> None:
        """No longer follow a request, if it is followed."""
        for remainder, requests in self._by_remainder.items():
            if requests.pop(request, None) is not None:
                if not requests:
                    del self._by_remainder[remainder]
                return

    def between(self, first: int, last: int) -> Iterator[tuple[int, list[tuple[Request, int]]]]:
        """The group's steps from `first` up to `last` that fill blocks: who then has how many."""
        size = self._block_size
        for step in range(first, last):
            requests = self._by_remainder.get(-(step + 1) % size)
            if requests:
                yield step, [(each, (base + step + 1) // size) for each, base in requests.items()]
