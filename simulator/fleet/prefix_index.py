"""What a router remembers of the prompts that it sent to one replica."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from servecast.simulator.fleet.extent_map import ExtentMap

Extents = Sequence[tuple[int, int]]
"""Block ids of a prompt, in order: the first id of each run of consecutive ones, and how many."""


class PrefixIndex:
    """The latest `capacity` block ids seen; those used longest ago go first.

    It is the router's guess at a replica's prefix cache, which knows nothing of what that evicts.
    Of one prompt the blocks at its beginning count as used first, as in llm-d's index.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: ExtentMap[int] = ExtentMap()
        """When each was used last, as a running number."""
        self._by_use: list[tuple[int, int]] = []
        """(use, first id) of each extent as a heap, and of some that are no more."""
        self._uses = 0
        self.blocks = 0
        """Block ids that it holds."""

    def __len__(self) -> int:
        """The extents that it keeps for them."""
        return len(self._known)

    def matched(self, extents: Extents) -> int:
        """How many blocks from the prompt's beginning it knows."""
        blocks = 0
        for first, length in extents:
            known = self._known.reached(first, first + length)
            blocks += known
            if known < length:
                break
        return blocks

    def add(self, extents: Extents) -> None:
        """Remember a prompt's blocks as the latest used, and forget what is then too much."""
        for first, length in extents:
            self._use(first, first + length)
        while self.blocks > self._capacity:
            self._forget()
        if len(self._by_use) > 2 * len(self._known) + 64:
            self._by_use = [(self._known.value(first), first) for first in self._known]
            heapify(self._by_use)

    def _use(self, first: int, end: int) -> None:
        known = self._known
        if known.split(end):
            heappush(self._by_use, (known.value(end), end))
        for part in known.within(first, end):
            self.blocks -= known.length(part)
            known.cut(part, known.length(part))
        self._uses += 1
        known.put(first, end, self._uses)
        heappush(self._by_use, (self._uses, first))
        self.blocks += end - first

    def _forget(self) -> None:
        """Forget what is too much of the extent that was used longest ago."""
        use, first = heappop(self._by_use)
        if first not in self._known or self._known.value(first) != use:
            return
        length = self._known.length(first)
        gone = min(self.blocks - self._capacity, length)
        self._known.cut(first, gone)
        self.blocks -= gone
        if gone < length:
            heappush(self._by_use, (use, first + gone))
