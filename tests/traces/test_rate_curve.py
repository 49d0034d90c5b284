"""Workloads whose rate changes over the day."""

from __future__ import annotations

import gzip
from itertools import pairwise
from math import isclose
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.rate_curve import RateCurve, read_rate_curve
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload

S = 1_000_000_000


def steady(requests: int, gap_s: float = 1.0) -> Workload:
    at_ns = np.rint(np.arange(requests) * gap_s * S).astype(np.int64)
    ones = np.ones(requests, np.int64)
    return Workload("w", at_ns, ones, ones, ones)


def curve(*rates: float, step_s: int = 10) -> RateCurve:
    return RateCurve(np.arange(len(rates)) * step_s * S, np.array(rates, float))


def counts(workload: Workload, step_s: int = 10) -> list[int]:
    found: list[int] = np.bincount(workload.arrival_ns // (step_s * S)).tolist()
    return found


def test_each_step_brings_as_many_as_its_rate_says_and_then_the_curve_begins_again() -> None:
    """Steps of 10 s at 1, 3 and 2 requests a second bring 60 requests."""
    shaped = curve(1, 3, 2).applied_to(steady(120, gap_s=0.5))
    assert counts(shaped) == [10, 30, 20, 10, 30, 20]


def test_nobody_comes_where_the_rate_is_0() -> None:
    shaped = curve(1, 0, 2).applied_to(steady(59))
    assert counts(shaped)[:3] == [10, 0, 20]


def test_the_old_rate_does_not_matter_and_bursts_stay() -> None:
    fast = curve(1, 3).applied_to(steady(40, gap_s=0.1)).arrival_ns
    slow = curve(1, 3).applied_to(steady(40, gap_s=7.0)).arrival_ns
    assert np.abs(fast - slow).max() <= 1
    pairs = steady(40)
    pairs.arrival_ns[1::2] = pairs.arrival_ns[0::2]
    at_ns = curve(1, 3).applied_to(pairs).arrival_ns
    assert (at_ns[0::2] == at_ns[1::2]).all()


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=9), st.integers(2, 200))
def test_the_order_stays_and_the_requests_brought_are_those_that_the_curve_says(
    rates: list[float], requests: int
) -> None:
    at_s = curve(*rates).applied_to(steady(requests)).arrival_ns / S
    assert (np.diff(at_s) >= 0).all()
    edges = np.arange(len(rates) + 1) * 10.0
    brought = np.concatenate(([0.0], np.cumsum(np.array(rates) * 10.0)))
    rounds, rest = np.divmod(at_s, edges[-1])
    again = rounds * brought[-1] + np.interp(rest, edges, brought)
    assert np.allclose(again, np.arange(requests), atol=1e-4, rtol=1e-9)


def test_a_mean_scales_the_whole_curve() -> None:
    scaled = curve(1, 3).with_mean(8.0)
    assert isclose(scaled.mean_per_s, 8.0)
    assert scaled.rate_per_s.tolist() == [4.0, 12.0]


@pytest.mark.parametrize(
    ("starts_s", "rates", "told"),
    [
        ([0], [1.0], "two times or more"),
        ([1, 2], [1.0, 1.0], "the first 0"),
        ([0, 0], [1.0, 1.0], "each later"),
        ([0, 1], [0.0, 0.0], "one must be above"),
        ([0, 1], [-1.0, 1.0], "below 0"),
    ],
)
def test_a_curve_that_is_none_is_refused(
    starts_s: list[int], rates: list[float], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        RateCurve(np.array(starts_s) * S, np.array(rates))


def test_what_has_no_rate_is_refused() -> None:
    for workload in (closed_loop(steady(5), 2), steady(1)):
        with pytest.raises(InputError, match="has no rate"):
            curve(1, 2).applied_to(workload)


def test_a_table_is_read_exactly_and_its_bad_rows_are_told(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("t_s,rate_rps\n0,1.5\n3600,0.25\n")
    found = read_rate_curve(path)
    assert found.start_ns.tolist() == [0, 3600 * S]
    assert found.rate_per_s.tolist() == [1.5, 0.25]
    path.write_text("t_s,rate_rps\n0,1.5\n3600,many\n")
    with pytest.raises(InputError, match="line 3: rate_rps is `many`"):
        read_rate_curve(path)


def test_the_published_day_of_servegen_is_kept(data_dir: Path, tmp_path: Path) -> None:
    """deepseek-r1: 144 windows of 10 minutes with a mean of 16.01 requests a second."""
    with gzip.open(data_dir / "traces" / "servegen_total_rate.csv.gz", "rt") as text:
        header, *rows = text.read().splitlines()
    day = [row for row in rows if row.startswith("reason/deepseek-r1,")]
    path = tmp_path / "day.csv"
    path.write_text("\n".join([header, *day]) + "\n")
    found = read_rate_curve(path)
    assert isclose(found.mean_per_s, 16.0147, rel_tol=1e-4)
    shaped = found.with_mean(2.0).applied_to(steady(172_800))
    per_window = counts(shaped, step_s=600)
    expected = found.with_mean(2.0).rate_per_s * 600
    assert len(per_window) == len(day) == 144
    assert np.abs(np.array(per_window) - expected).max() <= 1.01
    assert max(abs(after - before) for before, after in pairwise(per_window)) > 10
