"""Law 13: KV blocks are neither lost nor doubled, however a group of requests comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from servecast.simulator.decode_group import DecodeGroup
from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.request import Request

TOTAL, BLOCK_SIZE = 40, 4


def blocks_of(tokens: int) -> int:
    """⌈tokens / block⌉, by counting."""
    return len(range(0, tokens, BLOCK_SIZE))


def new_blocks(contexts: list[int], steps: int) -> int:
    """Blocks that `steps` more tokens of each take, by counting."""
    return sum(blocks_of(context + steps) - blocks_of(context) for context in contexts)


class Decoding(RuleBasedStateMachine):
    """A pool and a decode group against a dictionary of what each request has computed."""

    requests: Bundle[int] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.pool = KvBlocks(TOTAL, BLOCK_SIZE)
        self.group = DecodeGroup(BLOCK_SIZE)
        self.inside: dict[int, Request] = {}
        self.computed: dict[int, int] = {}
        self.joined_at: dict[int, int] = {}
        self.peak = 0

    def held(self) -> int:
        return sum(blocks_of(tokens) for tokens in self.computed.values())

    @rule(target=requests, prompt_tokens=st.integers(1, 30))
    def join(self, prompt_tokens: int) -> int:
        """A request whose prompt is computed, if its blocks are free."""
        index = len(self.joined_at)
        self.joined_at[index] = prompt_tokens
        blocks = self.pool.blocks_for(prompt_tokens)
        assert blocks == blocks_of(prompt_tokens)
        if blocks <= self.pool.free:
            request = Request(index, 0, prompt_tokens, 1000, 1000)
            request.num_computed_tokens = prompt_tokens
            request.num_blocks = blocks
            self.pool.allocate(blocks)
            self.group.join(request)
            self.inside[index], self.computed[index] = request, prompt_tokens
        return index

    @rule(index=consumes(requests))
    def leave(self, index: int) -> None:
        """A finish or a preemption: the request's own counts are brought up to date."""
        request = self.inside.pop(index, None)
        if request is None:
            return
        self.group.leave(request)
        computed = self.computed.pop(index)
        assert request.num_computed_tokens == computed
        assert request.emitted == computed - self.joined_at[index]
        assert request.num_tokens == self.joined_at[index] + request.emitted
        assert request.num_blocks == blocks_of(computed)
        self.pool.release(request.num_blocks)

    @precondition(lambda self: self.inside)
    @rule(at_most=st.integers(1, 50))
    def advance(self, at_most: int) -> None:
        """As many steps as the blocks allow."""
        contexts = list(self.computed.values())
        steps = self.group.steps_within(self.pool.free, at_most)
        assert new_blocks(contexts, steps) <= self.pool.free
        assert steps == at_most or new_blocks(contexts, steps + 1) > self.pool.free
        self.pool.allocate(self.group.blocks_needed(steps))
        self.group.steps += steps
        self.computed = {index: tokens + steps for index, tokens in self.computed.items()}

    @invariant()
    def blocks_add_up(self) -> None:
        self.pool.check(self.held())
        self.peak = max(self.peak, self.held())
        assert self.pool.free + self.held() == self.pool.total == TOTAL
        assert self.pool.free >= 0
        assert self.pool.peak_used == self.peak

    @invariant()
    def the_group_is_the_sum_of_its_requests(self) -> None:
        self.group.check(list(self.inside.values()))
        assert self.group.size == len(self.computed)
        assert self.group.context_sum == sum(self.computed.values())
        for index, request in self.inside.items():
            starts_a_block = self.computed[index] % BLOCK_SIZE == 0
            assert self.group.needs_block(request) == starts_a_block


TestDecoding = Decoding.TestCase
TestDecoding.settings = settings(
    max_examples=60, stateful_step_count=40, derandomize=True, deadline=None
)


def group_of(contexts: list[int], steps: int) -> DecodeGroup:
    """A group that has taken `steps` steps and whose requests then have these contexts."""
    group = DecodeGroup(BLOCK_SIZE)
    group.steps = steps
    for context in contexts:
        request = Request(0, 0, context, 1, 1)
        request.num_computed_tokens = context
        group.join(request)
    return group


CONTEXTS = st.lists(st.integers(1, 50), min_size=1, max_size=12)


@settings(max_examples=300, derandomize=True)
@given(contexts=CONTEXTS, before=st.integers(0, 100), steps=st.integers(0, 60))
def test_blocks_needed_equal_a_count_by_hand(contexts: list[int], before: int, steps: int) -> None:
    assert group_of(contexts, before).blocks_needed(steps) == new_blocks(contexts, steps)


@settings(max_examples=300, derandomize=True)
@given(CONTEXTS, st.integers(0, 100), st.integers(0, 40), st.integers(1, 60))
def test_the_horizon_is_the_last_step_that_the_free_blocks_allow(
    contexts: list[int], before: int, free_blocks: int, at_most: int
) -> None:
    allowed = [steps for steps in range(at_most + 1) if new_blocks(contexts, steps) <= free_blocks]
    assert group_of(contexts, before).steps_within(free_blocks, at_most) == allowed[-1]


def test_releasing_twice_is_found() -> None:
    pool = KvBlocks(10, BLOCK_SIZE)
    pool.allocate(3)
    pool.release(3)
    pool.check(0)
    pool.release(3)
    with pytest.raises(AssertionError, match="13 free"):
        pool.check(0)


def test_taking_more_than_there_is_is_found() -> None:
    pool = KvBlocks(10, BLOCK_SIZE)
    pool.allocate(11)
    with pytest.raises(AssertionError, match="-1 free"):
        pool.check(11)


def test_a_group_that_lost_a_request_is_found() -> None:
    group = group_of([5, 9], 0)
    with pytest.raises(AssertionError, match="a decode group of 2"):
        group.check([])
