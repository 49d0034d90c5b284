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
from collections.abc import Iterator
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
            held = segment if part == segment.length else self._split(segment, part)
            if not held.holders:
                self._unqueue(held)
            held.holders += 1
        request.num_blocks = request.num_cached_blocks = hit.blocks

    def cache(self, request: Request, blocks: int) -> None:
        """Let the request's first `blocks` blocks be found, which it holds and has filled."""
        at = request.num_cached_blocks
        if blocks > at:
            for first, length in _pieces(request.chain, at, blocks):
                self._cache_piece(request, first, length)
            request.num_cached_blocks = blocks

    def give_back(self, request: Request) -> None:
        """Release all blocks of the request; its full ones stay to be found while they are."""
        blank = request.num_blocks - request.num_cached_blocks
        self.release(blank)
        self._blank += blank
        release = Release()
        for segment in list(self._held(request)):
            segment.holders -= 1
            if not segment.holders:
                self._queue_up(segment, release)
        if release.segments:
            self._queue[release] = None
        request.num_blocks = request.num_cached_blocks = 0
        request.twins = None

    def allocate(self, blocks: int) -> None:
        """Take `blocks` free ones: blank, then those released longest ago."""
        super().allocate(blocks)
        self._blank -= blocks
        if self._blank < 0:
            self._evict(-self._blank)
            self._blank = 0

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
        while length:
            segment = self._copy_at(first)
            if segment is None:  # nor is anything after it cached
                self._segments[first] = Segment(first, length, holders=1)
                return
            part = min(length, segment.length)
            if part < segment.length:  # this request's next blocks are looked up by their first
                self._split(segment, part)
            for block in range(first, first + part):
                twin = Segment(block, 1, holders=1)
                self._twins.setdefault(block, []).append(twin)
                if request.twins is None:
                    request.twins = {}
                request.twins[block] = twin
            first += part
            length -= part

    def _held(self, request: Request) -> Iterator[Segment]:
        """The request's cached segments in the order of its chain."""
        own = request.twins or {}
        for first, length in _pieces(request.chain, 0, request.num_cached_blocks):
            taken = 0
            while taken < length:
                segment = own.get(first + taken) or self._copy_at(first + taken)
                if segment is None:
                    raise AssertionError(f"block {first + taken} of {request.index} is not cached")
                yield segment
                taken += segment.length

    def _split(self, segment: Segment, blocks: int) -> Segment:
        """Cut a segment after its first `blocks`, which come back as one of their own."""
        head = Segment(segment.first, blocks, segment.holders)
        segment.first += blocks
        segment.length -= blocks
        self._segments[head.first] = head
        self._segments[segment.first] = segment
        if segment.release is not None:
            head.release = segment.release
            segments = segment.release.segments
            segments.insert(segments.index(segment), head)
        return head

    def _queue_up(self, segment: Segment, release: Release) -> None:
        self.free += segment.length
        segment.release = release
        release.segments.append(segment)

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


def _pieces(chain: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The part of a chain from its block `start` up to `end`, as (first id, how many)."""
    at = 0
    for first, length in chain:
        after = at + length
        if after > start:
            low, high = start if start > at else at, end if end < after else after
            if low < high:
                yield first + low - at, high - low
        at = after
        if at >= end:
            return
