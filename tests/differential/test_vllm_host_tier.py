"""The host tier keeps and drops what vLLM's own `CPUOffloadingManager` does, block for block."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from servecast.simulator.extent_map import Piece
from servecast.simulator.host_tier import HostTier
from servecast.timewarp.foreign import foreign
from tests.tier_histories import Act, histories, ids

pytestmark = pytest.mark.engine(name="vllm")


class Both:
    """Our tier and vLLM's, and what is under way in them."""

    def __init__(self, total: int) -> None:
        base = foreign("vllm.v1.kv_offload.base")
        self.ours = HostTier(total)
        self.theirs = foreign("vllm.v1.kv_offload.cpu.manager").CPUOffloadingManager(total)
        self._key = base.make_offload_key
        self._result = base.LookupResult
        self._context = base.ReqContext(req_id="0")
        self._writing: list[list[Piece]] = []
        self._loading: list[list[Piece]] = []
        self.refused = self.dropped = 0

    def do(self, act: Act) -> None:
        """One act, if it can be."""
        run = act.run()
        if act.kind == "store":
            self._store(run)
        elif act.kind == "written" and self._writing:
            done = self._writing.pop(0)
            self.ours.written(done)
            self.theirs.complete_store(self._keys(done), self._context)
        elif act.kind == "load":
            self._load(act, run)
        elif act.kind == "loaded" and self._loading:
            done = self._loading.pop(0)
            self.ours.unpin(done)
            self.theirs.complete_load(self._keys(done), self._context)
        elif act.kind == "use":
            self.ours.use(run)
            self.theirs.touch(self._keys(run), self._context)
        self._compare(run)

    def _keys(self, run: list[Piece]) -> list[Any]:
        return [self._key(block.to_bytes(8, signed=True), 0) for block in ids(run)]

    def _store(self, run: list[Piece]) -> None:
        stored = self.ours.store(run)
        theirs = self.theirs.prepare_store(self._keys(run), self._context)
        assert (stored is None) == (theirs is None)
        if stored is None:
            self.refused += 1
            return
        assert self._keys(stored) == list(theirs.keys_to_store)
        self.dropped += len(theirs.evicted_keys)
        if stored:
            self._writing.append(stored)

    def _load(self, act: Act, run: list[Piece]) -> None:
        found = self.ours.find(run)
        if found.blocks and found.is_settled:
            part = Act(act.chain, act.start, act.start + found.blocks, act.kind).run()
            self.ours.pin(part)
            self.theirs.prepare_load(self._keys(part), self._context)
            self._loading.append(part)

    def _compare(self, run: list[Piece]) -> None:
        results = [self.theirs.lookup(key, self._context) for key in self._keys(run)]
        there = [result is not self._result.MISS for result in results]
        assert self.ours.find(run).blocks == [*there, False].index(False)
        if self._result.HIT_PENDING in results[: self.ours.find(run).blocks]:
            assert not self.ours.find(run).is_settled
        self.ours.check()


def test_every_act_leaves_the_same_blocks() -> None:
    pytest.importorskip("vllm")
    refused = dropped = 0

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(histories())
    def the_same_is_there(history: tuple[int, list[Act]]) -> None:
        nonlocal refused, dropped
        total, acts = history
        both = Both(total)
        for act in acts:
            both.do(act)
        refused, dropped = refused + both.refused, dropped + both.dropped

    the_same_is_there()
    assert refused > 50
    assert dropped > 500
