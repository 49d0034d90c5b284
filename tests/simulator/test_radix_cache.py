"""SGLang's radix cache: what is found, what is given up, and that no page is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.radix_node import common_pages, later_pages
from servecast.simulator.request import Request

PAGE = 4


def request(index: int, *runs: tuple[int, int], prompt_pages: int | None = None) -> Request:
    """A request whose text has these pages; all of it is prompt unless said."""
    pages = sum(length for _, length in runs) if prompt_pages is None else prompt_pages
    return Request(index, 0, pages * PAGE, 1, 1, list(runs))


def computed(cache: RadixCache, each: Request, pages: int) -> int:
    """Take in a request and compute so many of its pages; how many were found."""
    match = cache.find(each, pages)
    cache.hold(each, match)
    cache.allocate(pages - match.pages)
    each.num_blocks = pages
    cache.cache(each, pages)
    return match.pages


def served(cache: RadixCache, each: Request, pages: int) -> int:
    """Compute a request and let it go."""
    found = computed(cache, each, pages)
    cache.give_back(each)
    cache.check(0)
    return found


def test_a_text_is_found_as_far_as_it_was_computed() -> None:
    cache = RadixCache(20, PAGE)
    assert served(cache, request(0, (100, 6)), 6) == 0
    assert served(cache, request(1, (100, 4), (900, 3)), 7) == 4
    assert served(cache, request(2, (100, 6), (300, 1)), 7) == 6
    assert served(cache, request(3, (100, 4), (900, 1)), 5) == 5


def test_two_who_compute_the_same_at_once_leave_one_copy() -> None:
    cache = RadixCache(20, PAGE)
    pair = request(0, (100, 5)), request(1, (100, 5))
    matches = [cache.find(each, 5) for each in pair]
    for each, match in zip(pair, matches, strict=True):
        cache.hold(each, match)
        cache.allocate(5)
        each.num_blocks = 5
    assert cache.free == 10
    for each in pair:
        cache.cache(each, 5)
    assert cache.free == 15
    for each in pair:
        cache.give_back(each)
    cache.check(0)


def test_the_end_used_longest_ago_goes_whole() -> None:
    cache = RadixCache(12, PAGE)
    served(cache, request(0, (100, 4)), 4)
    served(cache, request(1, (200, 4)), 4)
    served(cache, request(2, (100, 2)), 2)  # splits the first text: its rest is now the newest
    cache.make_room(5)
    assert cache.find(request(3, (200, 4)), 4).pages == 0
    assert cache.find(request(4, (100, 4)), 4).pages == 4


def test_what_was_said_goes_before_the_prompt() -> None:
    cache = RadixCache(8, PAGE)
    served(cache, request(0, (100, 6), prompt_pages=4), 6)
    cache.make_room(3)
    assert cache.find(request(1, (100, 6)), 6).pages == 4


def test_who_holds_pages_keeps_them() -> None:
    cache = RadixCache(8, PAGE)
    computed(cache, request(0, (100, 3)), 3)
    served(cache, request(1, (200, 3)), 3)
    cache.make_room(8)
    assert cache.free == 5
    assert cache.find(request(2, (100, 3)), 3).pages == 3
    assert cache.find(request(3, (200, 3)), 3).pages == 0


def test_a_lost_page_is_noticed() -> None:
    cache = RadixCache(8, PAGE)
    computed(cache, request(0, (100, 3)), 3)
    with pytest.raises(AssertionError, match="free"):
        cache.check(1)


RUNS = st.lists(st.tuples(st.sampled_from((0, 5, 20)), st.integers(1, 4)), min_size=1, max_size=3)


@given(st.lists(RUNS, min_size=1, max_size=20))
def test_a_roomy_cache_finds_the_longest_beginning_ever_computed(
    texts: list[list[tuple[int, int]]],
) -> None:
    cache, computed_texts = RadixCache(1000, PAGE), list[list[int]]()
    for index, runs in enumerate(texts):
        text = _equal_id_is_equal_chain(runs)
        pages = sum(length for _, length in text)
        ids = [first + at for first, length in text for at in range(length)]
        longest = max((_common(ids, other) for other in computed_texts), default=0)
        assert served(cache, request(index, *text), pages) == longest
        computed_texts.append(ids)


@given(st.lists(st.tuples(RUNS, st.booleans()), min_size=1, max_size=30))
def test_no_page_is_lost_however_small_the_pool(
    texts: list[tuple[list[tuple[int, int]], bool]],
) -> None:
    cache, held = RadixCache(24, PAGE), list[Request]()
    for index, (runs, stays) in enumerate(texts):
        text = _equal_id_is_equal_chain(runs)
        pages = sum(length for _, length in text)
        while pages > cache.free:
            cache.give_back(held.pop(0))
            cache.check(0)
        each = request(index, *text)
        computed(cache, each, pages)
        if stays:
            held.append(each)
        else:
            cache.give_back(each)
        cache.check(0)
    for each in held:
        cache.give_back(each)
    assert cache.free == cache.total


@given(RUNS, RUNS)
def test_common_pages_are_those_before_the_first_difference(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    ids = [[first + at for first, length in runs for at in range(length)] for runs in (one, other)]
    assert common_pages(one, other) == _common(*ids)


@given(RUNS, st.integers(0, 15))
def test_later_pages_are_the_rest(runs: list[tuple[int, int]], pages: int) -> None:
    ids = [first + at for first, length in runs for at in range(length)]
    left = later_pages(runs, pages)
    assert [first + at for first, length in left for at in range(length)] == ids[pages:]


def _equal_id_is_equal_chain(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs whose ids tell all that comes before them."""
    text: list[tuple[int, int]] = []
    past = 0
    for first, length in runs:
        past = past * 100 + first + 1
        text.append((past * 1000, length))
        past = past * 10 + length
    return text


def _common(one: list[int], other: list[int]) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
