"""Which prompts begin alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.prefixes import Prefixes, block_tokens_of, prefixes

CHAINS = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=8)


def listed(known: Prefixes) -> list[list[int]]:
    """Each request's ids, one by one."""
    return [
        [each for first, length in known.extents(row) for each in range(first, first + length)]
        for row in range(len(known))
    ]


@given(CHAINS)
def test_extents_name_the_ids_they_were_made_of_and_no_two_could_be_one(
    chains: list[list[int]],
) -> None:
    known = prefixes(16, chains)
    assert listed(known) == chains
    assert known.blocks().tolist() == [len(chain) for chain in chains]
    for row in range(len(known)):
        extents = known.extents(row)
        assert all(a + n != b for (a, n), (b, _) in pairwise(extents))


@given(CHAINS, st.data())
def test_taking_rows_takes_their_chains(chains: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(chains) - 1), max_size=10))
    assert listed(prefixes(16, chains).take(rows)) == [chains[row] for row in rows]


@given(CHAINS, st.data())
def test_lists_are_cut_after_so_many_blocks(chains: list[list[int]], data: st.DataObject) -> None:
    counts = st.lists(st.integers(0, 13), min_size=len(chains), max_size=len(chains))
    blocks = data.draw(counts)
    known = prefixes(16, chains).up_to(np.array(blocks))
    assert listed(known) == [chain[:count] for chain, count in zip(chains, blocks, strict=True)]
    assert known.all_extents() == [known.extents(row) for row in range(len(known))]


@given(CHAINS, st.sampled_from([1, 2, 4]))
def test_smaller_blocks_agree_as_far_as_the_large_ones_did(
    chains: list[list[int]], block_size: int
) -> None:
    pieces = 4 // block_size
    fine = listed(prefixes(4, chains).in_blocks_of(block_size))
    assert fine == [
        [each * pieces + i for each in chain for i in range(pieces)] for chain in chains
    ]


@given(CHAINS, st.integers(2, 11))
def test_blocks_of_any_size_agree_as_far_as_tokens_do(
    chains: list[list[int]], block_size: int
) -> None:
    tokens = [[(each, place) for each in chain for place in range(4)] for chain in chains]
    found = listed(prefixes(4, chains).resampled(block_size))
    assert [len(ids) for ids in found] == [len(each) // block_size for each in tokens]
    last = [
        (tokens[row][(at + 1) * block_size - 1], each)
        for row, ids in enumerate(found)
        for at, each in enumerate(ids)
    ]
    assert len({token for token, _ in last}) == len({each for _, each in last}) == len(set(last))


def test_blocks_that_do_not_divide_are_refused_with_one_that_does() -> None:
    with pytest.raises(InputError, match="KV blocks of 48 tokens") as caught:
        prefixes(512, [[1]]).in_blocks_of(48)
    assert caught.value.hint == "give KV blocks a size that divides 512, such as 16"


def test_a_block_size_is_implied_by_whole_lists_cut_or_not() -> None:
    tokens = np.array([100, 16, 33, 5])
    assert block_tokens_of(tokens, -(-tokens // 16)) == 16
    assert block_tokens_of(tokens, tokens // 16) == 16
    assert block_tokens_of(tokens, np.array([2, 2, 2, 2])) is None
    assert block_tokens_of(tokens, np.zeros(4, np.int64)) is None
