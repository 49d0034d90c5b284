"""Which blocks requests hold and find in groups that keep unlike things; by hand and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.simulator.chain_keys import ChainKeys
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.request import Request
from servecast.simulator.stepped_request import SteppedRequest

FULL = KvGroup("full", 1, 4)
WINDOW = KvGroup("window", 1, 4, window=6)
STATE = KvGroup("state", 1, 4, state_blocks=2)
CHECKPOINTS = KvGroup("state", 1, 4, state_blocks=3)


def manager(*groups: KvGroup, blocks: int = 100, caching: bool = True) -> KvCacheManager:
    return KvCacheManager(
        groups, blocks, max_model_len=64, max_in_flight_tokens=16, enable_caching=caching
    )


def request(index: int, prompt: int, alike: int = 0) -> SteppedRequest:
    """A request whose first `alike` blocks of 4 are those of all others."""
    return SteppedRequest(Request(index, 0, prompt, 8, 8, [(0, alike)] if alike else []))


def compute(cache: KvCacheManager, computed: SteppedRequest, tokens: int) -> None:
    """One step of one request that runs."""
    cache.new_step_starts()
    assert cache.allocate_slots(computed, tokens)
    computed.num_computed_tokens += tokens


def admit(cache: KvCacheManager, waiting: SteppedRequest, tokens: int) -> int:
    """One step in which a request is admitted: how many tokens it found."""
    cache.new_step_starts()
    found, cached = cache.get_computed_blocks(waiting)
    assert cache.allocate_slots(
        waiting, tokens, num_new_computed_tokens=cached, new_computed_blocks=found
    )
    waiting.num_computed_tokens = cached + tokens
    return cached


def test_full_attention_keeps_all_and_a_window_what_it_sees() -> None:
    cache, first = manager(FULL, WINDOW), request(0, 24)
    assert admit(cache, first, 12) == 0
    assert cache.block_ids(first) == [[1, 2, 3], [4, 5, 6]]
    compute(cache, first, 8)  # the 13th token sees the 8th to the 13th: block 4 is behind them
    assert cache.block_ids(first) == [[1, 2, 3, 4, 7], [0, 5, 6, 8, 9]]


def test_a_window_is_found_where_its_prompt_ended_and_nowhere_before() -> None:
    cache = manager(FULL, WINDOW)
    first = request(0, 25, alike=6)
    admit(cache, first, 25)
    assert admit(cache, request(1, 25, alike=6), 1) == 24
    parting = request(2, 30, alike=4)
    assert admit(cache, parting, 30) == 0
    assert cache.junction(parting) == 16


def test_where_prompts_came_to_part_is_kept_for_the_next() -> None:
    cache = manager(STATE, FULL)
    first = request(0, 25, alike=6)
    admit(cache, first, 24)
    second = request(1, 30, alike=4)
    found, cached = cache.get_computed_blocks(second)
    assert (found, cached, cache.junction(second)) == ((), 0, 16)
    new = cache.block_aligned_split(second, 30, max_num_scheduled_tokens=64)
    assert new == 16
    assert admit(cache, second, new) == 0
    assert admit(cache, request(2, 30, alike=4), 1) == 16


def test_a_state_holds_one_block_however_long_its_prompt() -> None:
    cache, first = manager(STATE), request(0, 41)
    admit(cache, first, 16)
    assert cache.block_ids(first) == [[0, 0, 0, 1]]
    compute(cache, first, 16)
    assert cache.block_ids(first) == [[0, 0, 0, 1, 0, 0, 0, 2]]
    compute(cache, first, 8)
    assert cache.used == 2  # the one before is read while this one is computed


def test_a_kernel_that_writes_checkpoints_need_not_stop_before_the_prompts_end() -> None:
    plain, writing = manager(STATE), manager(CHECKPOINTS)
    waiting = request(0, 30)
    assert plain.block_aligned_split(waiting, 30, max_num_scheduled_tokens=64) == 28
    assert writing.block_aligned_split(waiting, 30, max_num_scheduled_tokens=64) == 30
    admit(writing, waiting, 30)
    assert writing.block_ids(waiting) == [[0] * 6 + [1, 2]]


def test_a_state_that_this_step_computes_cannot_be_built_on() -> None:
    cache = manager(STATE, FULL)
    admit(cache, request(0, 9, alike=2), 8)
    sibling = request(1, 9, alike=2)
    found, cached = cache.get_computed_blocks(sibling)
    assert cached == 8
    keys = {"num_new_computed_tokens": cached, "new_computed_blocks": found}
    assert not cache.allocate_slots(sibling, 1, **keys)  # type: ignore[arg-type]
    cache.new_step_starts()
    assert cache.allocate_slots(sibling, 1, **keys)  # type: ignore[arg-type]


def test_blocks_of_two_sizes_are_found_where_both_end() -> None:
    cache = manager(KvGroup("full", 1, 8), WINDOW)
    assert cache.hash_block_size == 4
    admit(cache, request(0, 21, alike=5), 21)
    assert admit(cache, request(1, 21, alike=5), 1) == 16


def test_blanks_are_taken_first_then_what_was_released_first_from_its_end() -> None:
    cache = manager(FULL, blocks=6)
    first, second, third = request(0, 9, alike=2), request(1, 9), request(2, 13)
    admit(cache, first, 9)
    cache.free(first)
    admit(cache, second, 9)
    assert cache.block_ids(second) == [[3, 4, 5]]
    admit(cache, third, 4)
    compute(cache, third, 4)
    assert cache.block_ids(third) == [[6, 2]]
    assert cache.get_computed_blocks(request(3, 9, alike=2))[1] == 4


def test_recurrent_layers_beside_blocks_of_another_size_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"blocks of \[4, 8\] tokens"):
        manager(STATE, KvGroup("full", 1, 8))
    assert manager(STATE, KvGroup("full", 1, 8), caching=False).used == 0


def test_without_caching_nothing_is_found_and_a_state_is_one_block() -> None:
    cache = manager(STATE, FULL, caching=False)
    admit(cache, request(0, 25, alike=6), 25)
    second = request(1, 25, alike=6)
    assert admit(cache, second, 25) == 0
    assert [len(blocks) for blocks in cache.block_ids(second)] == [1, 7]
    assert cache.block_aligned_split(second, 7, max_num_scheduled_tokens=64) == 7


chains = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=6)


@given(chains, st.data())
def test_a_key_is_the_id_of_the_block_that_ends_there(
    chain: list[tuple[int, int]], data: st.DataObject
) -> None:
    ids = [first + step for first, length in chain for step in range(length)]
    blocks = data.draw(st.integers(1, len(ids)))
    assert ChainKeys(chain, 16)(blocks * 16) == ids[blocks - 1]


@given(
    st.sampled_from([(FULL,), (FULL, WINDOW), (STATE, FULL), (CHECKPOINTS, WINDOW, FULL)]),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6), st.integers(1, 9)), max_size=12),
)
def test_what_all_have_given_back_is_free(
    groups: tuple[KvGroup, ...], asked: list[tuple[int, int, int]]
) -> None:
    cache, holding = manager(*groups, blocks=40), list[SteppedRequest]()
    for index, (prompt, alike, step) in enumerate(asked):
        waiting = request(index, prompt, min(alike, prompt // 4))
        cache.new_step_starts()
        found, cached = cache.get_computed_blocks(waiting)
        assert cached <= min(4 * alike, prompt - 1)
        keys = {"num_new_computed_tokens": cached, "new_computed_blocks": found}
        if cache.allocate_slots(waiting, min(step, prompt - cached), **keys):  # type: ignore[arg-type]
            holding.append(waiting)
        if len(holding) > 2:
            cache.free(holding.pop(0))
    assert 0 <= cache.pool.free <= cache.pool.total == 40
    for each in holding:
        cache.free(each)
    assert cache.used == 0
