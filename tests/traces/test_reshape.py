from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.reshape import closed_loop, head, rescale, sorted_by_arrival
from servecast.traces.workload import Workload


def arriving(*arrival_ns: int) -> Workload:
    """Requests that arrive then, numbered from 1 by their prompt tokens."""
    number = np.arange(1, len(arrival_ns) + 1, dtype=np.int64)
    return Workload("w", np.array(arrival_ns, np.int64), number, number, number, attribution="X")


def test_rescaling_stretches_time_and_leaves_the_rest() -> None:
    slow = rescale(arriving(0, 100, 1000), rate_per_s=1.0)
    assert slow.arrival_ns.tolist() == [0, 200_000_000, 2_000_000_000]
    assert slow.rate_per_s == 1.0
    assert slow.prompt_tokens.tolist() == [1, 2, 3]
    assert slow.attribution == "X"


@given(
    gaps_ns=st.lists(st.integers(0, 10**13), min_size=1, max_size=30),
    rate_per_s=st.floats(0.001, 1e5),
)
def test_rescaled_arrivals_are_the_exact_ones_to_half_a_nanosecond(
    gaps_ns: list[int], rate_per_s: float
) -> None:
    arrival_ns = np.cumsum([0, *gaps_ns, 1]).tolist()
    scaled = rescale(arriving(*arrival_ns), rate_per_s).arrival_ns.tolist()
    target_ns = round((len(arrival_ns) - 1) * 10**9 / Fraction(rate_per_s))
    assert scaled[0] == 0
    assert scaled[-1] == target_ns
    assert scaled == sorted(scaled)
    for before, after in zip(arrival_ns, scaled, strict=True):
        assert abs(Fraction(before * target_ns, arrival_ns[-1]) - after) <= Fraction(1, 2)


@pytest.mark.parametrize("rate_per_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate_per_s: float) -> None:
    with pytest.raises(InputError, match="must be a finite number above 0"):
        rescale(arriving(0, 1), rate_per_s)


def test_what_has_no_rate_cannot_be_rescaled() -> None:
    with pytest.raises(InputError, match="arrive at one time"):
        rescale(arriving(5, 5), 1.0)
    with pytest.raises(InputError, match="its 1 requests arrive"):
        rescale(arriving(0), 1.0)
    with pytest.raises(InputError, match="closed loop"):
        rescale(closed_loop(arriving(0, 5), 2), 1.0)
    with pytest.raises(InputError, match="last 0 ns") as caught:
        rescale(arriving(0, 5), 1e30)
    assert "between" in (caught.value.hint or "")
    with pytest.raises(InputError, match="1e-12/s"):
        rescale(arriving(0, 5), 1e-12)


def test_head_keeps_the_first_requests_and_refuses_more_than_there_are() -> None:
    first = head(arriving(0, 5, 9), 2)
    assert first.arrival_ns.tolist() == [0, 5]
    assert first.max_tokens.tolist() == [1, 2]
    for requests in (0, 4):
        with pytest.raises(InputError, match=f"requests is {requests}, and `w` has 3") as caught:
            head(arriving(0, 5, 9), requests)
        assert "1 to 3" in (caught.value.hint or "")


def test_sorting_is_stable_and_starts_at_zero() -> None:
    ordered = sorted_by_arrival(arriving(7, 3, 7, 3))
    assert ordered.arrival_ns.tolist() == [0, 0, 4, 4]
    assert ordered.prompt_tokens.tolist() == [2, 4, 1, 3]


def test_a_closed_loop_keeps_the_order_and_drops_the_times() -> None:
    loop = closed_loop(arriving(0, 5, 9), concurrency=2, think_ns=30)
    assert loop.arrival_ns.tolist() == [0, 0, 0]
    assert loop.prompt_tokens.tolist() == [1, 2, 3]
    assert (loop.concurrency, loop.think_ns, loop.rate_per_s) == (2, 30, 0.0)
    with pytest.raises(InputError, match="concurrency is 0, and must be at least 1"):
        closed_loop(arriving(0), 0)
    with pytest.raises(InputError, match="think time is -1 ns, and must be at least 0"):
        closed_loop(arriving(0), 1, -1)
