"""A value for each of many block ids, kept by extents of consecutive ids."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class ExtentMap(Generic[V]):
    """Disjoint extents `[first, end)` of ids with a value each: a few entries for a long prompt.

    Extents are split where somebody asks for a part of one, and never joined again.
    """

    __slots__ = ("_ends", "_firsts", "_values")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._ends: dict[int, int] = {}
        self._values: dict[int, V] = {}

    def __len__(self) -> int:
        return len(self._firsts)

    def __iter__(self) -> Iterator[int]:
        """The first ids of its extents, in order."""
        return iter(self._firsts)

    def reached(self, first: int, end: int) -> int:
        """How many ids from `first` on are there without a gap, `end` not passed."""
        at = first
        place = bisect_right(self._firsts, at) - 1
        while at < end and 0 <= place < len(self._firsts) and self._firsts[place] <= at:
            known = self._ends[self._firsts[place]]
            if known <= at:
                break
            at = known
            place += 1
        return min(at, end) - first

    def within(self, first: int, end: int) -> list[int]:
        """The first ids of the extents from `first` up to `end`, split so that none reaches out."""
        self.split(first)
        self.split(end)
        firsts = self._firsts
        return firsts[bisect_left(firsts, first) : bisect_left(firsts, end)]

    def gaps(self, first: int, end: int) -> list[tuple[int, int]]:
        """The extents between `first` and `end` that are not there."""
        missing: list[tuple[int, int]] = []
        for known in self.within(first, end):
            if first < known:
                missing.append((first, known))
            first = self._ends[known]
        if first < end:
            missing.append((first, end))
        return missing

    def put(self, first: int, end: int, value: V) -> None:
        """Add an extent of which no id is there."""
        self._firsts.insert(bisect_left(self._firsts, first), first)
        self._ends[first] = end
        self._values[first] = value

    def __contains__(self, first: int) -> bool:
        """Whether an extent begins with `first`."""
        return first in self._values

    def value(self, first: int) -> V:
        """The value of the extent that begins with `first`."""
        return self._values[first]

    def set(self, first: int, value: V) -> None:
        """Give the extent that begins with `first` another value."""
        self._values[first] = value

    def length(self, first: int) -> int:
        """How many ids the extent that begins with `first` has."""
        return self._ends[first] - first

    def cut(self, first: int, ids: int) -> None:
        """Take the first `ids` ids of an extent away, or all of it."""
        end, value = self._ends.pop(first), self._values.pop(first)
        place = bisect_left(self._firsts, first)
        if first + ids < end:
            self._firsts[place] = first + ids
            self._ends[first + ids] = end
            self._values[first + ids] = value
        else:
            del self._firsts[place]

    def split(self, at: int) -> bool:
        """Let an extent begin at `at`, if there is one around it; whether there was."""
        place = bisect_right(self._firsts, at) - 1
        if place < 0:
            return False
        first = self._firsts[place]
        end = self._ends[first]
        is_inside = first < at < end
        if is_inside:
            self._ends[first] = at
            self.put(at, end, self._values[first])
        return is_inside
