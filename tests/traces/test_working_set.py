"""The curve of a cache of every size equals caches of each size, one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.traces import working_set as module
from servecast.traces.prefixes import prefixes
from servecast.traces.statistics import ideal_hits
from servecast.traces.working_set import stack_distances, working_set

MENTIONS = st.lists(st.integers(0, 9), max_size=60)


def hits(named: Sequence[int], size: int) -> list[bool]:
    """Which mentions a cache of `size` blocks finds that forgets the least recently used."""
    held = OrderedDict[int, None]()
    found: list[bool] = []
    for block in named:
        found.append(block in held)
        held[block] = None
        held.move_to_end(block)
        if len(held) > size:
            held.popitem(last=False)
    return found


@given(MENTIONS, st.integers(1, 12))
def test_a_block_is_found_by_caches_from_its_distance_on(named: list[int], size: int) -> None:
    distances = stack_distances(np.array(named, np.int64))
    assert (distances <= size).tolist() == hits(named, size)


def test_the_curve_ends_at_what_a_cache_finds_that_forgets_nothing() -> None:
    chains = [[0, 1, 2], [3, 4], [0, 1, 5], [3, 4], [0, 1, 2, 6]]
    prompts = np.array([len(chain) * 16 for chain in chains], np.int64)
    known = prefixes(16, chains)
    curve = working_set(known, prompts)
    found, blocks, _ = ideal_hits(known, prompts)
    assert curve.block_hit[-1] == pytest.approx(found.sum() / blocks.sum())
    assert curve.sampled == 1.0
    assert (np.diff(curve.block_hit) > 0).all()
    assert (np.diff(curve.cache_tokens) > 0).all()


def test_a_cache_that_just_holds_one_prompt_finds_it_when_it_comes_again_at_once() -> None:
    curve = working_set(prefixes(16, [[0, 1, 2]] * 3), np.full(3, 48, np.int64))
    assert curve.cache_tokens.max() == 48
    assert curve.block_hit[-1] == pytest.approx(2 / 3)


def test_prompts_that_share_nothing_are_never_found() -> None:
    curve = working_set(prefixes(16, [[0], [1], [2]]), np.full(3, 16, np.int64))
    assert curve.block_hit.tolist() == [0.0]


def test_a_sample_of_the_blocks_gives_nearly_the_same_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    chains = [[int(block)] for block in rng.zipf(1.3, 30_000) % 3000]
    known, prompts = prefixes(16, chains), np.full(30_000, 16, np.int64)
    whole = working_set(known, prompts)
    monkeypatch.setattr(module, "MAX_REFERENCES", 10_000)
    part = working_set(known, prompts)
    assert 0.3 < part.sampled < 0.4
    sizes = np.array([200, 1000, 4000, 20_000]) * 16 / 4
    one, other = (np.interp(sizes, c.cache_tokens, c.block_hit) for c in (whole, part))
    assert np.abs(one - other).max() < 0.05
