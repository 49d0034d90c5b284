"""Rates and bursts as time goes by."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.traces.timeline import bin_length_s, dispersion, gap_cv, timeline
from servecast.traces.workload import Workload

S = 1_000_000_000


def arriving(at_s: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Workload:
    ones = np.ones(len(at_s), np.int64)
    return Workload("w", np.rint(at_s * S).astype(np.int64), ones, ones, ones)


def poisson(rate: float, span_s: float, seed: int = 0) -> Workload:
    rng = np.random.default_rng(seed)
    at_s = np.cumsum(rng.exponential(1 / rate, round(rate * span_s)))
    return arriving(at_s - at_s[0])


@pytest.mark.parametrize(
    ("span_s", "bin_s"), [(180, 1), (181, 2), (3600, 30), (86_400, 600), (1.0, 0.01)]
)
def test_bins_have_round_lengths(span_s: float, bin_s: float) -> None:
    assert bin_length_s(span_s) == pytest.approx(bin_s)


def test_every_arrival_of_a_whole_bin_is_counted() -> None:
    curve = timeline(np.array([0, 1, 1, 3, 9], np.int64) * S, 9 * S, 2.0)
    assert curve.start_s.tolist() == [0, 2, 4, 6]
    assert curve.rate_per_s.tolist() == [1.5, 0.5, 0, 0]


def test_a_poisson_process_disperses_as_one_at_every_length() -> None:
    lengths_s, indices = dispersion(poisson(20, 2000))
    assert lengths_s[0] < 0.1
    assert lengths_s[-1] == pytest.approx(200, rel=0.05)
    assert indices[lengths_s < 20] == pytest.approx(1.0, abs=0.25)


def test_bursts_disperse_more_the_longer_the_window() -> None:
    begins_s = poisson(0.1, 5000).arrival_ns / S
    at_s = np.sort(np.concatenate([start_s + np.arange(50) * 0.01 for start_s in begins_s]))
    lengths_s, indices = dispersion(arriving(at_s))
    short, long = indices[lengths_s < 0.2], indices[(lengths_s > 2) & (lengths_s < 100)]
    assert 1 < short.min() <= short.max() < 25
    assert long.min() > 30


def test_the_gaps_of_a_poisson_process_vary_as_their_mean_and_a_metronome_s_do_not() -> None:
    _, cv = gap_cv(poisson(20, 400))
    assert np.nanmean(cv) == pytest.approx(1.0, abs=0.1)
    _, even = gap_cv(arriving(np.arange(4000) / 10))
    assert np.nanmax(even) == pytest.approx(0.0, abs=1e-6)


def test_too_few_arrivals_tell_nothing() -> None:
    _, cv = gap_cv(arriving(np.array([0.0, 1.0, 5.0])))
    assert np.isnan(cv).all()
    lengths_s, _ = dispersion(arriving(np.array([0.0, 5.0])))
    assert len(lengths_s) == 0
