"""The KV blocks of the requests that are underway at one replica, as a router counts them."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.fleet.extent_map import ExtentMap


class ActiveBlocks:
    """How many different blocks so many prompts have: one that several share counts once."""

    def __init__(self) -> None:
        self._holders: ExtentMap[int] = ExtentMap()
        self.blocks = 0

    def hold(self, extents: Sequence[tuple[int, int]], own: int) -> None:
        """A prompt with these extents, and `own` blocks that nobody else has, is underway."""
        self.blocks += own
        for first, length in extents:
            for start, end in self._holders.gaps(first, first + length):
                self._holders.put(start, end, 0)
                self.blocks += end - start
            for part in self._holders.within(first, first + length):
                self._holders.set(part, self._holders.value(part) + 1)

    def release(self, extents: Sequence[tuple[int, int]], own: int) -> None:
        """One that was held has ended."""
        self.blocks -= own
        for first, length in extents:
            for part in self._holders.within(first, first + length):
                holders = self._holders.value(part) - 1
                self._holders.set(part, holders)
                if not holders:
                    self.blocks -= self._holders.length(part)
                    self._holders.cut(part, self._holders.length(part))

    def new(self, extents: Sequence[tuple[int, int]]) -> int:
        """How many of these blocks nobody holds."""
        return sum(
            end - start
            for first, length in extents
            for start, end in self._holders.gaps(first, first + length)
        )
