"""Percentiles, distributions and the sampling error of a run."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.simulator.metrics import (
    batched_half_width,
    distribution,
    inter_token_distribution,
    weighted_percentile,
)
from servecast.simulator.records import Records
from tests.made_records import made_records

WEIGHTED = st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 30)), min_size=1, max_size=30)
NOTHING = np.zeros(0, dtype=np.int64)


@settings(max_examples=300, derandomize=True)
@given(weighted=WEIGHTED, percentile=st.floats(0, 100))
def test_a_weighted_percentile_is_numpys_of_the_repeated_values(
    weighted: list[tuple[int, int]], percentile: float
) -> None:
    values, counts = np.asarray(weighted, dtype=np.int64).T
    seen = weighted_percentile(values, counts, percentile)
    repeated = np.repeat(values, counts)
    if len(repeated):
        assert seen == pytest.approx(np.percentile(repeated, percentile), rel=1e-9, abs=1e-3)
    else:
        assert math.isnan(seen)


def test_a_weighted_percentile_lies_between_two_values() -> None:
    """Of 10, 10, 20, 40: rank 0.75 × 3 = 2.25, a quarter of the way from 20 to 40."""
    assert weighted_percentile(np.array([40, 10, 20]), np.array([1, 2, 1]), 75.0) == 25.0


def test_a_distribution_leaves_out_what_is_undefined() -> None:
    seen = distribution(np.array([3.0, math.nan, 1.0, 2.0]))
    assert (seen.mean, seen.p50, seen.max) == (2.0, 2.0, 3.0)
    assert seen.p90 == pytest.approx(2.8)
    assert all(math.isnan(value) for value in astuple(distribution(np.array([math.nan]))))


def test_inter_token_times_are_pooled_over_tokens() -> None:
    seen = inter_token_distribution(np.array([10_000_000, 500_000_000, 90]), np.array([99, 1, 0]))
    assert seen.mean == pytest.approx((99 * 0.010 + 0.5) / 100)
    assert (seen.p50, seen.p95, seen.max) == (0.010, 0.010, 0.5)
    assert seen.p99 == pytest.approx(0.010 + 0.01 * 0.49)
    assert all(math.isnan(value) for value in astuple(inter_token_distribution(NOTHING, NOTHING)))


def finishing_at(times_s: list[float]) -> Records:
    return made_records([0.0] * len(times_s), times_s, times_s, [1] * len(times_s))


def mean_e2e_s(records: Records) -> float:
    return float(records.e2e_ns.mean()) / 1e9


def test_the_half_width_is_students_over_ten_batches() -> None:
    """Batch means 1 … 10: s = 3.0277, t₉ = 2.262, so 2.262 × 3.0277 / √10 = 2.166."""
    records = finishing_at([float(second) for second in range(1, 11) for _ in range(5)])
    assert batched_half_width(records, mean_e2e_s) == pytest.approx(2.166, abs=5e-4)


@pytest.mark.parametrize(("batches", "student"), [(2, 12.706), (3, 4.303), (5, 2.776), (6, 2.571)])
def test_few_batches_make_a_wide_band(batches: int, student: float) -> None:
    records = finishing_at([float(second) for second in range(batches) for _ in range(2)])
    deviation = float(np.std(np.arange(batches), ddof=1))
    expected = student * deviation / math.sqrt(batches)
    assert batched_half_width(records, mean_e2e_s, batches) == pytest.approx(expected)


def test_batches_without_a_value_are_left_out() -> None:
    """Two of ten have none: t₇ = 2.365 over the other eight."""
    records = finishing_at([float(second) for second in range(10) for _ in range(2)])

    def statistic(part: Records) -> float:
        value = mean_e2e_s(part)
        return math.nan if value > 7 else value

    expected = 2.365 * float(np.std(np.arange(8), ddof=1)) / math.sqrt(8)
    assert batched_half_width(records, statistic) == pytest.approx(expected)


def test_too_few_requests_have_no_half_width() -> None:
    assert math.isnan(batched_half_width(finishing_at([1.0] * 19), mean_e2e_s))
    assert math.isnan(batched_half_width(finishing_at([1.0] * 40), lambda _: math.nan))
