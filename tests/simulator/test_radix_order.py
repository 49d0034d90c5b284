"""The order of requests along a radix tree."""

from __future__ import annotations

from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.radix_order import heaviest_first
from servecast.simulator.request import Request

PAGE = 4
SHORT, LONG, LONGER, OTHER, ELSE = (
    ((0, 2),),
    ((0, 2), (10, 2)),
    ((0, 2), (10, 4)),
    ((0, 2), (20, 2)),
    ((50, 3),),
)
"""Texts by their pages: three go on from the first one, one has nothing to do with them."""


def order(*texts: tuple[tuple[int, int], ...]) -> list[int]:
    """The places of requests with these texts, all of them cached in the order above."""
    cache = RadixCache(100, PAGE)
    for number, text in enumerate((SHORT, LONG, LONGER, OTHER, ELSE)):
        request = asking(number, text)
        pages = sum(length for _, length in text)
        cache.allocate(pages)
        request.num_blocks = pages
        cache.cache(request, pages)
    found = [asking(100 + place, text) for place, text in enumerate(texts)]
    ends = [cache.find(each, each.prompt_tokens // PAGE).node for each in found]
    return heaviest_first(cache.root, ends)


def asking(number: int, text: tuple[tuple[int, int], ...]) -> Request:
    pages = sum(length for _, length in text)
    return Request(number, 0, pages * PAGE, 1, 1, known=text)


def test_the_branch_that_most_wait_for_comes_first() -> None:
    assert order(ELSE, OTHER, LONG, OTHER) == [1, 3, 2, 0]


def test_who_ends_at_a_node_comes_after_all_below_it() -> None:
    assert order(SHORT, LONG, LONGER) == [2, 1, 0]


def test_of_equal_branches_the_older_one_comes_first() -> None:
    assert order(OTHER, LONG) == [1, 0]


def test_who_finds_nothing_comes_last_in_the_order_of_arrival() -> None:
    nothing = ((900, 2),)
    assert order(nothing, ((800, 2),), ELSE) == [2, 0, 1]
