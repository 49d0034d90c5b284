"""The nodes of a radix tree of KV pages, and the runs of page ids that lead to them."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.traces.prefixes import cut

Run = tuple[int, int]
"""Consecutive ids of pages: the first, and how many."""


class RadixNode:
    """Pages that follow each other in every text that goes through them."""

    __slots__ = ("children", "holders", "last_use", "length", "parent", "runs")

    def __init__(self, runs: list[Run], parent: RadixNode | None) -> None:
        self.runs = runs
        self.length = pages_of(runs)
        self.parent = parent
        self.children: dict[int, RadixNode] = {}
        """By their first page."""
        self.holders = 0
        """Requests whose text goes through it."""
        self.last_use = 0.0

    @property
    def is_end(self) -> bool:
        """Whether it may be evicted: nothing follows, and nobody holds it."""
        return not self.children and not self.holders and self.parent is not None

    def split(self, pages: int) -> RadixNode:
        """Put a node of the first `pages` pages between this one and its parent."""
        head = RadixNode(cut(self.runs, pages), self.parent)
        head.holders = self.holders
        if self.parent is not None:
            self.parent.children[self.runs[0][0]] = head
        self.runs = later_pages(self.runs, pages)
        self.length -= pages
        self.parent = head
        head.children[self.runs[0][0]] = self
        return head


def pages_of(runs: Sequence[Run]) -> int:
    """How many pages the runs name."""
    return sum(length for _, length in runs)


def later_pages(runs: Sequence[Run], pages: int) -> list[Run]:
    """The runs without the first `pages` pages."""
    left: list[Run] = []
    for first, length in runs:
        skipped = min(pages, length)
        pages -= skipped
        if skipped < length:
            left.append((first + skipped, length - skipped))
    return left


def common_pages(one: Sequence[Run], other: Sequence[Run]) -> int:
    """How many pages two texts begin with alike."""
    pages = place = past = 0
    for first, length in one:
        while length:
            if place == len(other) or other[place][0] + past != first:
                return pages
            part = min(length, other[place][1] - past)
            first, length, pages, past = first + part, length - part, pages + part, past + part
            if past == other[place][1]:
                place, past = place + 1, 0
    return pages
