"""The KV blocks that an engine keeps in its host's memory, the least recently used of which go.

It follows vLLM 0.32.0 (`v1/kv_offload/cpu/manager.py` and `policies/lru.py`) rank for rank: a block
is used when it is stored, and when a request that it was loaded for, or was offered by, is over;
not by one that offered it while it was on its way for another. Then that request's blocks count as
used from the last to the first, so that ends go before what they follow. Blocks under way are
neither found nor evicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, Protocol

from servecast.simulator.extent_map import Extent, ExtentMap, Piece


class Found(NamedTuple):
    """How many blocks of a run are there from its beginning, and whether none is under way."""

    blocks: int
    is_settled: bool


class Tier(Protocol):
    """A place for KV blocks beside the GPU's own. What comes in pushes others out, by its rule.

    A run of blocks is given as pieces: extents of ids in the order of their chain.
    """

    def find(self, run: Iterable[Piece]) -> Found:
        """What of the run is there."""
        ...

    def store(self, run: Iterable[Piece]) -> list[Piece] | None:
        """Make room for what of the run is not there: that. None where there is no room for it."""
        ...

    def coming(self, run: Iterable[Piece]) -> list[Piece]:
        """What of the run has been stored and is not written yet."""
        ...

    def written(self, run: Iterable[Piece]) -> None:
        """What `store` made room for has come."""
        ...

    def pin(self, run: Iterable[Piece]) -> None:
        """Keep a run that is there until `unpin`."""
        ...

    def unpin(self, run: Iterable[Piece]) -> None:
        """Let it go, as far as this holder goes."""
        ...

    def use(self, run: Iterable[Piece]) -> None:
        """A request that was served by these blocks is over."""
        ...

    def check(self) -> None:
        """Raise if blocks were lost or doubled."""
        ...


class HostTier:
    """The tier in a host's memory."""

    def __init__(self, blocks: int) -> None:
        self.total = blocks
        self.used = 0
        self.peak_used = 0
        self._extents = ExtentMap()
        self._idle = 0
        """Blocks that are in no transfer."""
        self._rank = 0
        self._serial = count()
        self._oldest: list[tuple[int, int, Extent]] = []
        """By rank, idle extents; and some that are no more, or have another rank."""

    def find(self, run: Iterable[Piece]) -> Found:
        """What of the run is there."""
        blocks, is_settled = 0, True
        for first, length in run:
            for extent, (_, there) in self._extents.parts(first, length):
                if extent is None:
                    return Found(blocks, is_settled)
                is_settled = is_settled and not extent.pins
                blocks += there
        return Found(blocks, is_settled)

    def store(self, run: Iterable[Piece]) -> list[Piece] | None:
        """Make room for what of the run is not there: that. None where there is no room for it."""
        parts = [part for piece in run for part in self._extents.parts(*piece)]
        missing = [part for extent, part in parts if extent is None]
        excess = self.used + sum(length for _, length in missing) - self.total
        if excess > 0 and not self._evict_others(excess, [part for _, part in parts]):
            return None
        for first, length in missing:
            self._insert(first, length)
        return missing

    def coming(self, run: Iterable[Piece]) -> list[Piece]:
        """What of the run has been stored and is not written yet."""
        parts = (part for piece in run for part in self._extents.parts(*piece))
        return [part for extent, part in parts if extent is not None and not extent.is_written]

    def written(self, run: Iterable[Piece]) -> None:
        """What `store` made room for has come."""
        for extent in self._exactly(run):
            extent.is_written = True
            self._loosen(extent)

    def pin(self, run: Iterable[Piece]) -> None:
        """Keep a run that is there until `unpin`."""
        for extent in self._exactly(run):
            if not extent.pins:
                self._idle -= extent.length
            extent.pins += 1

    def unpin(self, run: Iterable[Piece]) -> None:
        """Let it go, as far as this holder goes."""
        for extent in self._exactly(run):
            self._loosen(extent)

    def use(self, run: Iterable[Piece]) -> None:
        """A request that was served by these blocks is over."""
        later: Extent | None = None
        for extent in reversed(list(self._exactly(self._present(run)))):
            extent.rank, extent.goes_forward = self._rank, False
            self._rank += extent.length
            if later and extent.end == later.first and not (extent.pins or later.pins):
                self._extents.remove(later.first)
                extent.rank, extent.length = later.rank, extent.length + later.length
                later.length = 0
            later = extent
            self._queue(extent)

    def check(self) -> None:
        """Raise if blocks were lost or doubled, or there are more than there is room for."""
        held = list(self._extents)
        used = sum(extent.length for extent in held)
        idle = sum(extent.length for extent in held if not extent.pins)
        if (used, idle) != (self.used, self._idle) or used > self.total:
            raise AssertionError(f"{used} of {self.total} blocks, {self.used} counted")

    def _present(self, run: Iterable[Piece]) -> Iterator[Piece]:
        for first, length in run:
            parts = self._extents.parts(first, length)
            yield from [part for extent, part in parts if extent is not None]

    def _exactly(self, run: Iterable[Piece]) -> Iterator[Extent]:
        """The extents that a run consists of, cut where it begins and ends."""
        for first, length in run:
            at, end = first, first + length
            while at < end:
                extent = self._extents.covering(at)
                if extent is None:
                    raise AssertionError(f"block {at} is not there")
                if extent.first < at:
                    extent = self._cut(extent, at - extent.first)
                if extent.end > end:
                    self._cut(extent, end - extent.first)
                at = extent.end
                yield extent

    def _cut(self, extent: Extent, blocks: int) -> Extent:
        rest = extent.cut(blocks)
        self._extents.add(rest)
        self._queue(extent)
        self._queue(rest)
        return rest

    def _insert(self, first: int, length: int) -> None:
        extent = Extent(first, length, self._rank, goes_forward=True)
        extent.pins = 1
        self._rank += length
        self._extents.add(extent)
        self.used += length
        self.peak_used = max(self.peak_used, self.used)

    def _loosen(self, extent: Extent) -> None:
        extent.pins -= 1
        if not extent.pins:
            self._idle += extent.length
            self._queue(extent)

    def _queue(self, extent: Extent) -> None:
        if not extent.pins:
            heappush(self._oldest, (extent.rank, next(self._serial), extent))

    def _evict_others(self, blocks: int, run: Iterable[Piece]) -> bool:
        """Whether so many blocks that are not of the run could go, and did."""
        if blocks > self._idle:
            return False
        kept = list(self._present(run))
        self.pin(kept)
        has_room = blocks <= self._idle
        if has_room:
            self._evict(blocks)
        self.unpin(kept)
        return has_room

    def _evict(self, blocks: int) -> None:
        """Drop the `blocks` idle ones that were used longest ago."""
        self.used -= blocks
        self._idle -= blocks
        while blocks:
            rank, _, extent = heappop(self._oldest)
            if extent.rank != rank or extent.pins or not extent.length:
                continue
            self._extents.remove(extent.first)
            if extent.length <= blocks:
                blocks -= extent.length
                extent.length = 0
                continue
            extent.shed(blocks)
            blocks = 0
            self._extents.add(extent)
            self._queue(extent)
