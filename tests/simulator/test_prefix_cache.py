"""The prefix cache against one that keeps every block on its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.simulator.prefix_cache import PrefixCache
from servecast.simulator.request import Request
from tests.reference_cache import Block, ReferenceCache

TOTAL = 24
CHAINS = [
    [(0, 12)],
    [(0, 5), (100, 7)],
    [(0, 5), (100, 3), (200, 4)],
    [(0, 8), (300, 2)],
    [(400, 6)],
    [],
]
"""A family of chains that part at several places, one apart, and one that nobody knows."""


@dataclass
class Holder:
    """One request in both caches."""

    request: Request
    blocks: list[Block] = field(default_factory=list[Block])

    def names(self, count: int) -> list[int]:
        found: list[int] = []
        for first, length in self.request.chain:
            found += range(first, first + min(length, count - len(found)))
        return found[:count]


class Pair:
    """Both caches, driven alike."""

    def __init__(self) -> None:
        self.cache, self.reference = PrefixCache(TOTAL, 16), ReferenceCache(TOTAL)
        self.held: list[Holder] = []
        self.admitted = 0

    def admit(self, chain: int, blocks: int, at_most: int, filled: int) -> None:
        holder = Holder(Request(self.admitted, 0, 1, 1, 1, known=CHAINS[chain]))
        self.admitted += 1
        at_most = min(at_most, blocks)
        hit = self.cache.find(holder.request, at_most)
        found = self.reference.find(holder.names(at_most))
        assert hit.blocks == len(found)
        assert hit.unheld == sum(not block.holders for block in found)
        if blocks - hit.blocks + hit.unheld > self.cache.free:
            return
        self.held.append(holder)
        self.cache.hold(holder.request, hit)
        self.reference.hold(found)
        holder.blocks = found
        self.grow(len(self.held) - 1, blocks - hit.blocks, filled)

    def grow(self, place: int, blocks: int, filled: int) -> None:
        if not self.held:
            return
        holder = self.held[place % len(self.held)]
        blocks = min(blocks, self.cache.free)
        self.cache.allocate(blocks)
        holder.request.num_blocks += blocks
        holder.blocks += self.reference.allocate(blocks)
        full = max(len(holder.blocks) - filled, holder.request.num_cached_blocks)
        self.cache.cache(holder.request, full)
        self.reference.cache(holder.blocks[:full], holder.names(full))

    def leave(self, place: int) -> None:
        if self.held:
            holder = self.held.pop(place % len(self.held))
            self.cache.give_back(holder.request)
            self.reference.give_back(holder.blocks)

    def check(self) -> None:
        assert self.cache.free == self.reference.free
        uncached = (h.request.num_blocks - h.request.num_cached_blocks for h in self.held)
        self.cache.check(sum(uncached))
        for chain in CHAINS:
            request = Request(10**6, 0, 1, 1, 1, known=chain)
            names = Holder(request).names(TOTAL)
            assert self.cache.find(request, TOTAL).blocks == len(self.reference.find(names))


SMALL, FEW = st.integers(0, 12), st.integers(0, 2)
MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("admit"), st.integers(0, len(CHAINS) - 1), SMALL, SMALL, st.integers(0, 2)
        ),
        st.tuples(st.just("grow"), SMALL, st.integers(0, 4), st.integers(0, 2)),
        st.tuples(st.just("leave"), SMALL),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(MOVES)
def test_it_finds_and_forgets_what_a_cache_of_single_blocks_does(
    moves: list[tuple[Any, ...]],
) -> None:
    pair = Pair()
    for name, *arguments in moves:
        getattr(pair, name)(*arguments)
        pair.check()


def test_a_prompt_of_thousands_of_blocks_is_one_segment() -> None:
    cache = PrefixCache(100_000, 16)
    request = Request(0, 0, 1, 1, 1, known=[(0, 50_000)])
    cache.allocate(50_000)
    request.num_blocks = 50_000
    cache.cache(request, 50_000)
    cache.give_back(request)
    hit = cache.find(Request(1, 0, 1, 1, 1, known=[(0, 60_000)]), 60_000)
    assert (hit.blocks, hit.unheld, len(hit.parts)) == (50_000, 50_000, 1)
