"""Many senders in one workload."""

from __future__ import annotations

from math import isclose

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.arrivals import Gamma, Weibull
from servecast.traces.client_pool import ClientPool, LengthHistogram, PoolClient

S = 1_000_000_000


def exactly(tokens: int) -> LengthHistogram:
    return LengthHistogram(np.array([tokens]), np.array([tokens + 1]), np.ones(1))


def pool(*clients: PoolClient) -> ClientPool:
    return ClientPool("p", clients, "owed")


SHORT = PoolClient(3.0, Gamma(1.0), (exactly(10), exactly(1)))
LONG = PoolClient(1.0, Weibull(2.0), (exactly(90), exactly(9)))
UNKNOWN = PoolClient(4.0, Gamma(1.0), None)


def test_rates_are_scaled_together() -> None:
    workload = pool(SHORT, LONG).synthesize(400.0, 100.0, seed=1)
    assert isclose(len(workload), 40_000, rel_tol=0.03)
    assert isclose(float((workload.prompt_tokens == 10).mean()), 0.75, abs_tol=0.02)
    assert (workload.name, workload.attribution) == ("p", "owed")
    assert int(workload.max_tokens.min()) == 9


def test_arrivals_are_in_order_from_0_within_the_span() -> None:
    at_ns = pool(SHORT, LONG, UNKNOWN).synthesize(50.0, 20.0).arrival_ns
    assert at_ns[0] == 0
    assert (np.diff(at_ns) >= 0).all()
    assert at_ns[-1] < 20 * S


def test_unknown_lengths_are_those_of_the_others_by_rate_and_stay_together() -> None:
    workload = pool(SHORT, LONG, UNKNOWN).synthesize(800.0, 100.0)
    assert isclose(float((workload.prompt_tokens == 10).mean()), 0.75, abs_tol=0.02)
    pairs = zip(workload.prompt_tokens.tolist(), workload.output_tokens.tolist(), strict=True)
    assert set(pairs) == {(10, 1), (90, 9)}


def test_a_histogram_draws_its_bins_by_their_chance_and_never_0_tokens() -> None:
    bins = LengthHistogram(np.array([0, 10]), np.array([2, 20]), np.array([0.25, 0.75]))
    drawn = bins.draw(40_000, np.random.default_rng(0))
    assert isclose(float((drawn >= 10).mean()), 0.75, abs_tol=0.02)
    assert set(drawn.tolist()) == {1, *range(10, 20)}


def test_the_same_seed_gives_the_same() -> None:
    first, again = (pool(SHORT, LONG).synthesize(4.0, 100.0, seed=7) for _ in range(2))
    assert first.arrival_ns.tobytes() == again.arrival_ns.tobytes()
    assert first.prompt_tokens.tobytes() == again.prompt_tokens.tobytes()
    other = pool(SHORT, LONG).synthesize(4.0, 100.0, seed=8)
    assert first.arrival_ns.tobytes() != other.arrival_ns.tobytes()


@pytest.mark.parametrize(
    ("rate_per_s", "span_s", "told"),
    [(0.0, 10.0, "rate is 0/s"), (1.0, 0.5, "0.5 requests"), (1e9, 10.0, "1e\\+10 requests")],
)
def test_a_rate_or_span_out_of_range_is_refused(
    rate_per_s: float, span_s: float, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        pool(SHORT).synthesize(rate_per_s, span_s)


def test_a_pool_of_unknown_lengths_is_refused() -> None:
    with pytest.raises(InputError, match="of no client"):
        pool(UNKNOWN).synthesize(1.0, 10.0)


def test_bins_that_hold_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="histogram of lengths"):
        LengthHistogram(np.array([3]), np.array([3]), np.ones(1))
