"""Runs of KV block ids that share their fate in a tier below the GPU's cache, found by any id.

Unlike in the GPU's own cache a block can be here while the one before it in its chain is not: who
holds that one on the GPU need not have had it brought here. So runs are found by the ids they
cover, and not by the chains they belong to.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator

_BEYOND = 1 << 62

Piece = tuple[int, int]
"""Consecutive block ids: the first, and how many."""


class Extent:
    """Blocks with consecutive ids that were used alike.

    Each has a rank, all of them different: that of the block which goes first is `rank`, the next
    one's is one more. Blocks of a request that is over go from the last to the first, those that
    have only just come from the first to the last (`goes_forward`).
    """

    __slots__ = ("first", "goes_forward", "is_written", "length", "pins", "rank")

    def __init__(self, first: int, length: int, rank: int, *, goes_forward: bool) -> None:
        self.first = first
        self.length = length
        self.rank = rank
        self.goes_forward = goes_forward
        self.is_written = False
        self.pins = 0
        """Transfers that it is part of: it stays while there are any."""

    @property
    def end(self) -> int:
        """The id behind its last block."""
        return self.first + self.length

    def cut(self, blocks: int) -> Extent:
        """Keep the first `blocks`; the others come back as an extent of their own."""
        others = self.length - blocks
        rank = self.rank + blocks if self.goes_forward else self.rank
        rest = Extent(self.first + blocks, others, rank, goes_forward=self.goes_forward)
        rest.is_written, rest.pins = self.is_written, self.pins
        if not self.goes_forward:
            self.rank += others
        self.length = blocks
        return rest

    def shed(self, blocks: int) -> None:
        """Lose the `blocks` that go first, of more than that."""
        if self.goes_forward:
            self.first += blocks
        self.length -= blocks
        self.rank += blocks


class ExtentMap:
    """Extents in order of their ids; no two cover the same block."""

    __slots__ = ("_by_first", "_firsts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._by_first: dict[int, Extent] = {}

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._by_first.values())

    def covering(self, block: int) -> Extent | None:
        """The extent that the block lies in."""
        extent = self._by_first.get(block)
        if extent is not None:
            return extent
        place = bisect_right(self._firsts, block)
        if not place:
            return None
        extent = self._by_first[self._firsts[place - 1]]
        return extent if block < extent.end else None

    def parts(self, first: int, length: int) -> Iterator[tuple[Extent | None, Piece]]:
        """A piece in order: what an extent covers of it, and with None what lies between."""
        at, end = first, first + length
        while at < end:
            extent = self.covering(at)
            behind = self._first_behind(at) if extent is None else extent.end
            stop = behind if behind < end else end
            yield extent, (at, stop - at)
            at = stop

    def add(self, extent: Extent) -> None:
        """Take in an extent that none overlaps."""
        insort(self._firsts, extent.first)
        self._by_first[extent.first] = extent

    def remove(self, first: int) -> None:
        """Forget the extent that begins with this block, or did so before it shed some."""
        del self._firsts[bisect_right(self._firsts, first) - 1]
        del self._by_first[first]

    def _first_behind(self, block: int) -> int:
        """Where the next extent begins, or an id beyond all."""
        place = bisect_right(self._firsts, block)
        return self._firsts[place] if place < len(self._firsts) else _BEYOND


def without(run: Iterable[Piece], others: Iterable[Piece]) -> list[Piece]:
    """What of a run of pieces none of the others covers, in the order of the run."""
    left = list(run)
    for first, length in others:
        end = first + length
        parts = [
            (max(at, begin), min(at + size, stop))
            for at, size in left
            for begin, stop in ((at, first), (end, at + size))
        ]
        left = [(begin, stop - begin) for begin, stop in parts if begin < stop]
    return left


def pieces(chain: Iterable[Piece], start: int, end: int) -> Iterator[Piece]:
    """The ids of a chain's blocks from its `start`-th up to its `end`-th."""
    passed = 0
    for first, length in chain:
        begin, stop = max(start - passed, 0), min(end - passed, length)
        if begin < stop:
            yield first + begin, stop - begin
        passed += length
        if passed >= end:
            return
