from __future__ import annotations

import math
from math import isclose

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.arrivals import (
    ArrivalProcess,
    Constant,
    Gamma,
    Poisson,
    StationaryProcess,
    Weibull,
    arrival_times_ns,
    times_within_ns,
    weibull_shape,
)


def drawn(process: ArrivalProcess, requests: int, rate_per_s: float) -> list[int]:
    arrival_ns: list[int] = arrival_times_ns(
        process, requests, rate_per_s, np.random.default_rng(3)
    ).tolist()
    return arrival_ns


@pytest.mark.parametrize(
    ("process", "cv"),
    [
        (Poisson(), 1.0),
        (Gamma(0.3), 0.3),
        (Gamma(1.0), 1.0),
        (Gamma(3.0), 3.0),
        (Weibull(0.3), 0.3),
        (Weibull(1.0), 1.0),
        (Weibull(2.0), 2.0),
    ],
)
def test_gaps_have_mean_one_and_the_stated_variation(process: ArrivalProcess, cv: float) -> None:
    gaps = process.gaps(400_000, np.random.default_rng(1))
    assert isclose(gaps.mean(), 1.0, rel_tol=0.02)
    assert isclose(gaps.std() / gaps.mean(), cv, rel_tol=0.02)
    assert gaps.min() >= 0.0


def test_a_metronome_keeps_exact_time() -> None:
    assert drawn(Constant(), 4, 8.0) == [0, 125_000_000, 250_000_000, 375_000_000]


@pytest.mark.parametrize("process", [Poisson(), Gamma(4.0), Constant()])
def test_another_rate_is_the_same_pattern_stretched(process: ArrivalProcess) -> None:
    fast, slow = drawn(process, 50, 10.0), drawn(process, 50, 5.0)
    assert fast[0] == slow[0] == 0
    assert fast == sorted(fast)
    assert all(abs(2 * quick - late) <= 2 for quick, late in zip(fast, slow, strict=True))


def test_one_request_arrives_at_zero() -> None:
    assert drawn(Poisson(), 1, 5.0) == [0]


@pytest.mark.parametrize("cv", [0.0, -1.0, 1000.0, float("nan"), float("inf")])
def test_a_burst_cv_out_of_range_is_refused(cv: float) -> None:
    with pytest.raises(InputError, match=r"burst cv is .*, and must be from 0\.01 to 200"):
        Gamma(cv)


def test_arrivals_that_outlast_the_clock_are_refused() -> None:
    with pytest.raises(InputError, match="3 requests at 1e-300/s last longer"):
        drawn(Constant(), 3, 1e-300)


def test_weibull_gaps_that_vary_like_poissons_are_poissons() -> None:
    assert isclose(weibull_shape(1.0), 1.0, rel_tol=1e-9)
    assert isclose(weibull_shape(math.sqrt(5.0)), 0.5, rel_tol=1e-9)  # Γ(5) / Γ(3)² = 6


@pytest.mark.parametrize("process", [Gamma(0.3), Gamma(5.0), Weibull(0.3), Weibull(5.0)])
def test_a_process_that_is_looked_at_in_the_middle_keeps_its_rate_however_short_the_look(
    process: StationaryProcess,
) -> None:
    """2 requests in expectation; beginning with one, cv 5 would give 10 of them."""
    rng = np.random.default_rng(11)
    counts = [len(times_within_ns(process, 4.0, 500_000_000, rng)) for _ in range(20_000)]
    assert isclose(float(np.mean(counts)), 2.0, abs_tol=0.15)


def test_times_within_a_span_are_in_order_and_inside_it() -> None:
    found = times_within_ns(Gamma(8.0), 1000.0, 3 * 10**9, np.random.default_rng(2))
    assert (np.diff(found) >= 0).all()
    assert 0 <= found.min() <= found.max() < 3 * 10**9
