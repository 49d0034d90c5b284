"""Runs of cached KV blocks that share their fate."""

from __future__ import annotations

from collections.abc import Iterator


class Segment:
    """Blocks with consecutive ids, each the next of a chain, that share their fate."""

    __slots__ = ("first", "holders", "length", "release", "rest")

    def __init__(self, first: int, length: int, holders: int) -> None:
        self.first = first
        self.length = length
        self.holders = holders
        self.release: Release | None = None
        """The queue's entry it lies in, while nobody holds it."""
        self.rest: Segment | None = None
        """What was cut off behind it last."""

    def cut(self, blocks: int) -> Segment:
        """Keep the first `blocks`; the others come back as a segment of their own."""
        rest = Segment(self.first + blocks, self.length - blocks, self.holders)
        rest.rest = self.rest
        self.rest = rest
        self.length = blocks
        if self.release is not None:
            self.release.add_behind(self, rest)
        return rest

    def parts(self, blocks: int) -> Iterator[Segment]:
        """Where the first `blocks` lie that it held once: here, and in what was cut off since."""
        part: Segment | None = self
        while blocks and part is not None:
            blocks -= part.length
            yield part
            part = part.rest


class Release:
    """What one request gave back at once: segments in the order of its chain, evicted backwards."""

    __slots__ = ("segments",)

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def add(self, segment: Segment) -> None:
        """Take in the next segment of the chain."""
        segment.release = self
        self.segments.append(segment)

    def add_behind(self, segment: Segment, rest: Segment) -> None:
        """Take in what was cut off a segment."""
        rest.release = self
        self.segments.insert(self.segments.index(segment) + 1, rest)
