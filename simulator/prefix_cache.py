"""vLLM's prefix cache: which blocks of the pool hold what, and which of them go first.

Of the engine it keeps: only full blocks are found; a request's blocks can be found from the step
that computes them on; who is found first is who was cached first; released blocks queue in order of
release, a request's own from the last to the first; blocks that hold no full chain go before all.

Blocks are kept as segments, runs of consecutive ids of one chain that are held, queued and evicted
alike, so that a prompt of thousands of blocks costs as much as the places where prompts part. A
block is cached only while the one before it in its chain is: whoever held it held that one too, and
gave it back after it. So a chain is found by its first ids, and what is evicted is always an end.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.request import Request
from servecast.simulator.segment import Release, Segment


class Hit(NamedTuple):
    """What a chain finds: blocks in all, how many of them nobody holds, and where they lie."""

    blocks: int
    unheld: int
    parts: list[tuple[Segment, int]]


class PrefixCache(KvBlocks):
    """A pool whose blocks are found again by what they hold. Paired: `hold` and `give_back`."""

    __slots__ = ("_blank", "_queue", "_segments", "_twins")

    def __init__(self, total: int, block_size: int) -> None:
        super().__init__(total, block_size)
        self._blank = total
        """Free blocks that hold nothing to be found: the first to be taken."""
        self._queue: OrderedDict[Release, None] = OrderedDict()
        self._segments: dict[int, Segment] = {}
        """By first id. No two hold the same block."""
        self._twins: dict[int, list[Segment]] = {}
        """Further copies, a block each, in the order they were cached."""

    def find(self, request: Request, at_most: int) -> Hit:
        """The longest cached part of the request's chain, up to `at_most` blocks."""
        parts: list[tuple[Segment, int]] = []
        blocks = unheld = 0
        for first, length in request.chain:
            taken = 0
            while taken < length and blocks < at_most:
                segment = self._copy_at(first + taken)
                if segment is None:
                    return Hit(blocks, unheld, parts)
                part = min(segment.length, length - taken, at_most - blocks)
                parts.append((segment, part))
                taken += part
                blocks += part
                unheld += 0 if segment.holders else part
        return Hit(blocks, unheld, parts)

    def hold(self, request: Request, hit: Hit) -> None:
        """Give the request the blocks that `find` found for it just now."""
        for segment, part in hit.parts:
            if part < segment.length:
                self._cut(segment, part)
            if not segment.holders:
                self._unqueue(segment)
            segment.holders += 1
        request.num_blocks = request.num_cached_blocks = hit.blocks
        request.held = hit.parts

    def cache(self, request: Request, blocks: int) -> None:
        """Let the request's first `blocks` blocks be found, which it holds and has filled."""
        at, end = request.num_cached_blocks, 0
        if blocks <= at:
            return
        request.num_cached_blocks = blocks
        for first, length in request.chain:
            end += length
            if end > at:
                upto = end if end < blocks else blocks
                self._cache_piece(request, first + length - end + at, upto - at)
                at = upto
                if at == blocks:
                    return

    def give_back(self, request: Request) -> None:
        """Release all blocks of the request; its full ones stay to be found while they are."""
        blank = request.num_blocks - request.num_cached_blocks
        self.release(blank)
        self._blank += blank
        release = Release()
        for segment, blocks in request.held:
            for part in (segment,) if segment.length == blocks else segment.parts(blocks):
                part.holders -= 1
                if not part.holders:
                    self.free += part.length
                    release.add(part)
        if release.segments:
            self._queue[release] = None
        request.num_blocks = request.num_cached_blocks = 0
        request.held = []

    def allocate(self, blocks: int) -> None:
        """Take `blocks` free ones: blank, then those released longest ago."""
        super().allocate(blocks)
        blank = self._blank - blocks
        if blank < 0:
            self._evict(-blank)
            blank = 0
        self._blank = blank

    def check(self, held: int) -> None:
        """Raise if blocks were lost or doubled, `held` being those that cannot be found."""
        queued = sum(s.length for release in self._queue for s in release.segments)
        if self._blank + queued != self.free:
            raise AssertionError(f"{self._blank} blank + {queued} queued ≠ {self.free} free")
        twins = (twin for copies in self._twins.values() for twin in copies)
        shared = sum(s.length for s in (*self._segments.values(), *twins) if s.holders)
        super().check(held + shared)

    def _copy_at(self, block: int) -> Segment | None:
        """The copy cached first among those that begin with this block."""
        segment = self._segments.get(block)
        if segment is None and block in self._twins:
            return self._twins[block][0]
        return segment

    def _cache_piece(self, request: Request, first: int, length: int) -> None:
        held = request.held
        while length:
            segment = self._copy_at(first)
            if segment is None:  # nor is anything after it cached
                self._segments[first] = segment = Segment(first, length, holders=1)
                held.append((segment, length))
                return
            part = min(length, segment.length)
            if part < segment.length:  # this request's next blocks are looked up by their first
                self._cut(segment, part)
            for block in range(first, first + part):
                twin = Segment(block, 1, holders=1)
                self._twins.setdefault(block, []).append(twin)
                held.append((twin, 1))
            first += part
            length -= part

    def _cut(self, segment: Segment, blocks: int) -> None:
        rest = segment.cut(blocks)
        self._segments[rest.first] = rest

    def _unqueue(self, segment: Segment) -> None:
        release = segment.release
        if release is None:
            raise AssertionError(f"segment {segment.first} is neither held nor queued")
        self.free -= segment.length
        release.segments.remove(segment)
        segment.release = None
        if not release.segments:
            del self._queue[release]

    def _evict(self, blocks: int) -> None:
        while blocks:
            release = next(iter(self._queue))
            segment = release.segments[-1]
            if segment.length > blocks:
                segment.length -= blocks
                return
            blocks -= segment.length
            release.segments.pop()
            self._forget(segment)
            if not release.segments:
                del self._queue[release]

    def _forget(self, segment: Segment) -> None:
        if self._segments.get(segment.first) is segment:
            del self._segments[segment.first]
            return
        copies = self._twins[segment.first]
        copies.remove(segment)
        if not copies:
            del self._twins[segment.first]
