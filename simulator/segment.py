"""Runs of cached KV blocks that share their fate."""

from __future__ import annotations


class Segment:
    """Blocks with consecutive ids, each the next of a chain, that share their fate."""

    __slots__ = ("first", "holders", "length", "release")

    def __init__(self, first: int, length: int, holders: int) -> None:
        self.first = first
        self.length = length
        self.holders = holders
        self.release: Release | None = None
        """The queue's entry it lies in, while nobody holds it."""


class Release:
    """What one request gave back at once: segments in the order of its chain, evicted backwards."""

    __slots__ = ("segments",)

    def __init__(self) -> None:
        self.segments: list[Segment] = []
