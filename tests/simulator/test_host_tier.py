"""The tier in host memory, kept in extents, is the one that is kept block by block."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from servecast.simulator.extent_map import Piece
from servecast.simulator.host_tier import HostTier
from servecast.simulator.request import Request
from tests.reference_tier import ReferenceTier
from tests.tier_histories import Act, histories, ids
from tests.tiers import transfers


class Pair:
    """Both, with what is under way in them."""

    def __init__(self, total: int) -> None:
        self.tier, self.reference = HostTier(total), ReferenceTier(total)
        self._writing: list[list[Piece]] = []
        self._loading: list[list[Piece]] = []
        self.evicting = 0

    def do(self, act: Act) -> None:
        """One act, if it can be."""
        run, blocks = act.run(), ids(act.run())
        if act.kind == "store":
            before = self.tier.used
            stored, theirs = self.tier.store(run), self.reference.store(blocks)
            assert (None if stored is None else ids(stored)) == theirs
            if stored:
                self._writing.append(stored)
                self.evicting += before + len(ids(stored)) > self.tier.used
        elif act.kind == "written" and self._writing:
            done = self._writing.pop(0)
            self.tier.written(done)
            self.reference.unpin(ids(done))
        elif act.kind == "load":
            self._load(act, run)
        elif act.kind == "loaded" and self._loading:
            done = self._loading.pop(0)
            self.tier.unpin(done)
            self.reference.unpin(ids(done))
        elif act.kind == "use":
            self.tier.use(run)
            self.reference.use(blocks)
        assert tuple(self.tier.find(run)) == self.reference.find(blocks)
        assert self.tier.used == len(self.reference.order)
        self.tier.check()

    def _load(self, act: Act, run: list[Piece]) -> None:
        found = self.tier.find(run)
        if found.blocks and found.is_settled:
            part = Act(act.chain, act.start, act.start + found.blocks, act.kind).run()
            self.tier.pin(part)
            self.reference.pin(ids(part))
            self._loading.append(part)


def test_extents_are_blocks_kept_together() -> None:
    evicting = 0

    @settings(max_examples=400, derandomize=True, deadline=None)
    @given(histories())
    def both_agree(history: tuple[int, list[Act]]) -> None:
        nonlocal evicting
        total, acts = history
        pair = Pair(total)
        for act in acts:
            pair.do(act)
        evicting += pair.evicting

    both_agree()
    assert evicting > 100


def request(index: int, blocks: int, first: int = 0) -> Request:
    return Request(index, 0, 16 * blocks, 1, 1, [(first, blocks)])


def written(tier: HostTier, run: list[Piece]) -> None:
    stored = tier.store(run)
    assert stored is not None
    tier.written(stored)


def test_the_end_of_who_was_over_first_goes_first() -> None:
    tier = HostTier(8)
    for first in (0, 100):
        written(tier, [(first, 4)])
        tier.use([(first, 4)])
    written(tier, [(200, 2)])
    assert tier.find([(0, 4)]).blocks == 2
    assert tier.find([(100, 4)]).blocks == 4


def test_what_has_only_come_goes_from_its_first_block() -> None:
    tier = HostTier(8)
    written(tier, [(0, 8)])
    written(tier, [(100, 2)])
    assert tier.find([(0, 8)]).blocks == 0
    assert tier.find([(2, 6)]).blocks == 6


def test_nothing_goes_for_what_does_not_fit_anyway() -> None:
    tier = HostTier(4)
    written(tier, [(0, 4)])
    assert tier.store([(100, 5)]) is None
    assert tier.store([(0, 4), (100, 1)]) is None
    assert tier.find([(0, 4)]).blocks == 4


def test_what_is_under_way_stays_and_says_so() -> None:
    tier = HostTier(4)
    assert tier.store([(0, 3)]) == [(0, 3)]
    assert tier.find([(0, 3)]) == (3, False)
    assert tier.store([(100, 2)]) is None
    tier.written([(0, 3)])
    assert tier.find([(0, 3)]) == (3, True)
    tier.pin([(1, 1)])
    assert tier.find([(0, 3)]) == (3, False)
    assert tier.find([(0, 1)]) == (1, True)


def test_a_lost_block_is_noticed() -> None:
    tier = HostTier(4)
    written(tier, [(0, 3)])
    tier.used -= 1
    with pytest.raises(AssertionError, match="3 of 4 blocks, 2 counted"):
        tier.check()


def test_what_was_stored_is_coming_until_it_is_written() -> None:
    tier = HostTier(8)
    assert tier.store([(0, 3)]) == [(0, 3)]
    assert tier.coming([(0, 5)]) == [(0, 3)]
    tier.store([(2, 4)])
    assert tier.coming([(0, 6)]) == [(0, 3), (3, 3)]
    tier.written([(0, 3)])
    assert tier.coming([(0, 6)]) == [(3, 3)]


def test_who_offers_what_is_on_its_way_for_another_does_not_use_it() -> None:
    """Three blocks of a beginning that two requests share, and two blocks of one that only one
    has: what goes first is the beginning if the second request did not count as its user."""

    def survivors(*, written_before: bool) -> list[int]:
        moved = transfers(5)
        one, two = request(0, 3), request(1, 3)
        run = moved.offer(one, 3)
        assert run
        if written_before:
            moved.send(one, run, 0)
            moved.poll(0)
        moved.offer(two, 3)
        if not written_before:
            moved.send(one, run, 0)
            moved.poll(0)
        other = moved.offer(request(2, 2, first=50), 2)
        assert other
        moved.send(request(2, 2, first=50), other, 0)
        moved.poll(0)
        moved.close(two)
        assert moved.offer(request(3, 2, first=90), 2)
        return [block for block in (0, 1, 2, 50, 51) if moved.tier.find([(block, 1)]).blocks]

    assert survivors(written_before=True) == [0, 1, 2]
    assert survivors(written_before=False) == [2, 50, 51]
