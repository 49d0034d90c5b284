"""A decoding worker as a flow, beside the same worker step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.profiler.decode_worker import DecodePool, DecodeWorker


def pool(places: int = 100) -> DecodePool:
    """Ten milliseconds a step, and one more for each request."""
    return DecodePool(1, places, lambda requests: 10_000_000 + 1_000_000 * requests)


def test_a_request_alone_takes_its_steps() -> None:
    worker = DecodeWorker(pool())
    assert worker.due_ns is None
    worker.join(7, 20, now_ns=500)
    assert worker.step_ns == 11_000_000
    assert worker.due_ns == 500 + 20 * 11_000_000
    assert worker.leave(500 + 20 * 11_000_000) == [7]
    assert (worker.requests, worker.due_ns) == (0, None)


def test_company_slows_down_what_is_left() -> None:
    worker = DecodeWorker(pool())
    worker.join(0, 20, now_ns=0)
    worker.join(1, 20, now_ns=10 * 11_000_000)
    assert worker.due_ns == 10 * 11_000_000 + 10 * 12_000_000
    assert worker.leave(worker.due_ns or 0) == [0]
    assert worker.due_ns == 10 * 11_000_000 + 10 * 12_000_000 + 10 * 11_000_000


def test_a_full_worker_has_no_room() -> None:
    worker = DecodeWorker(pool(places=2))
    worker.join(0, 5, 0)
    assert worker.has_room
    worker.join(1, 5, 0)
    assert not worker.has_room


def stepped(joins_ns: list[int], tokens: list[int]) -> list[float]:
    """When each request ends where every step is taken; who comes during one joins at its end."""
    now, left, ends = 0, dict[int, int](), [0.0] * len(tokens)
    todo = list(enumerate(joins_ns))
    while todo or left:
        while todo and todo[0][1] <= now:
            request, _ = todo.pop(0)
            left[request] = tokens[request]
        if not left:
            now = todo[0][1]
            continue
        now += pool().step_ns(len(left))
        for request in list(left):
            left[request] -= 1
            if not left[request]:
                ends[request] = now
                del left[request]
    return ends


def flowing(joins_ns: list[int], tokens: list[int]) -> list[float]:
    worker, ends = DecodeWorker(pool()), [0.0] * len(tokens)
    todo = list(enumerate(joins_ns))
    while todo or worker.due_ns is not None:
        if todo and (worker.due_ns is None or todo[0][1] < worker.due_ns):
            request, now = todo.pop(0)
            worker.join(request, tokens[request], now)
            continue
        due_ns = worker.due_ns or 0
        for request in worker.leave(due_ns):
            ends[request] = due_ns
    return ends


@given(
    st.lists(
        st.tuples(st.integers(0, 3_000_000_000), st.integers(20, 300)), min_size=1, max_size=12
    )
)
def test_the_flow_ends_requests_within_a_few_steps_of_stepping(
    requests: list[tuple[int, int]],
) -> None:
    joins, tokens = (list(column) for column in zip(*sorted(requests), strict=True))
    apart = np.array(flowing(joins, tokens)) - np.array(stepped(joins, tokens))
    assert float(np.abs(apart).max()) <= (len(requests) + 1) * pool().step_ns(len(requests))


def test_equal_requests_at_once_are_exact() -> None:
    assert flowing([0] * 8, [100] * 8) == stepped([0] * 8, [100] * 8)
    assert flowing([0] * 8, [100] * 8) == pytest.approx([100 * 18_000_000] * 8)
