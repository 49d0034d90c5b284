"""A radix cache of pairs of tokens: a page is shared where texts go on alike behind it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from servecast.simulator.bigram_cache import BigramCache
from tests.simulator.test_radix_cache import PAGE, request, served


def test_a_page_is_found_where_the_same_block_follows() -> None:
    cache = BigramCache(40, PAGE)
    served(cache, request(0, (100, 6)), 5)
    assert served(cache, request(1, (100, 4), (900, 3)), 6) == 3
    assert served(cache, request(2, (100, 4), (900, 1)), 4) == 4
    assert served(cache, request(3, (100, 6), (300, 2)), 5) == 5


def test_blocks_in_several_extents_are_the_same_text() -> None:
    cache = BigramCache(40, PAGE)
    served(cache, request(0, (100, 6)), 5)
    assert served(cache, request(1, (100, 2), (102, 1), (103, 3)), 5) == 5


def test_the_last_token_of_a_text_begins_no_pair() -> None:
    cache = BigramCache(8, PAGE)
    found = [cache.pages_of(tokens) for tokens in (0, 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1)]
    assert found == [0, 0, 0, 1, 1, 2]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=8))
def test_what_is_found_is_what_a_table_of_pairs_finds(texts: list[list[int]]) -> None:
    """Blocks are named by all that is before them, as equal ids are equal chains."""
    names: dict[tuple[int, ...], int] = {}
    known: set[tuple[int, int]] = set()
    cache = BigramCache(1000, PAGE)
    for index, text in enumerate(texts):
        ids = [names.setdefault(tuple(text[: at + 1]), 7 * len(names)) for at in range(len(text))]
        pairs = list(pairwise(ids))
        expected = 0
        while expected < len(pairs) and pairs[expected] in known:
            expected += 1
        assert served(cache, request(index, *[(each, 1) for each in ids]), len(pairs)) == expected
        known.update(pairs)
