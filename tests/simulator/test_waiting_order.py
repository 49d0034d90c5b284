"""In which order SGLang looks at who waits."""

from __future__ import annotations

from collections import deque

import pytest

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.request import Request
from servecast.simulator.waiting_order import WaitingOrder

PAGE = 16


def waiting(*texts: tuple[int, int], pages: int = 8) -> deque[Request]:
    """Requests of so many pages; a text is its first page, and its declared output."""
    return deque(
        Request(index, 0, pages * PAGE, 1, declared, [(first, pages)])
        for index, (first, declared) in enumerate(texts)
    )


def order(
    policy: SglangSchedulePolicy, queue: deque[Request], cache: RadixCache | None = None
) -> list[int]:
    return [each.index for each in WaitingOrder(policy, cache, _declared).sort(queue)]


def cached(first: int, pages: int) -> RadixCache:
    """A cache in which somebody has left so many pages of a text."""
    cache = RadixCache(100, PAGE)
    request = Request(99, 0, pages * PAGE, 1, 1, [(first, pages)])
    cache.allocate(pages)
    request.num_blocks = pages
    cache.cache(request, pages)
    cache.give_back(request)
    return cache


def test_first_come_or_longest_output_first_and_equals_in_order() -> None:
    queue = waiting((10, 5), (20, 9), (30, 5), (40, 9))
    assert order("fcfs", queue) == [0, 1, 2, 3]
    assert order("lof", queue) == [1, 3, 0, 2]


def test_most_cached_first() -> None:
    queue = waiting((10, 5), (500, 5), (20, 5))
    assert order("lpm", queue, cached(500, 6)) == [1, 0, 2]


def test_without_a_cache_most_cached_first_is_first_come() -> None:
    assert order("lpm", waiting((10, 5), (500, 5))) == [0, 1]


def test_of_those_who_begin_alike_one_goes_ahead() -> None:
    queue = waiting((10, 5), (10, 5), (20, 5))
    assert order("lpm", queue, RadixCache(100, PAGE)) == [0, 2, 1]


@pytest.mark.parametrize(("waits", "first"), [(128, 50), (129, 0)])
def test_a_long_queue_is_not_ordered_by_what_is_cached(waits: int, first: int) -> None:
    texts = [(1000 * (index + 1), 5) for index in range(waits)]
    texts[50] = (500, 5)
    assert order("lpm", waiting(*texts), cached(500, 6))[0] == first


def _declared(request: Request) -> int:
    return request.max_tokens
