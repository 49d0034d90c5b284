"""Bands around forecasts: which one applies, and that they hold what was measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.band_widths import METRICS, Ratio, coverage, fitted, left_out_coverage, ratios
from servecast.profiler.bands import TPOT, TTFT, Band, Family, family_of, tpot_band, ttft_band
from servecast.profiler.measured_costs import MeasuredCosts
from servecast.profiler.measured_points import read_measured
from servecast.profiler.predict import Predictor
from tests.profiler.silicon_rows import point

HAS_TABLES = all(importlib.util.find_spec(n) for n in ("aiconfigurator_core", "pyarrow"))


def test_every_family_has_a_band_around_the_forecast() -> None:
    both = (False, True)
    for family in (Family(t, e, o) for t in both for e in both for o in both):
        for band in (tpot_band(family), ttft_band(family)):
            assert 0 < band.low < 1 < band.high
    assert (len(TPOT), len(TTFT)) == (4, 8), "few numbers"


def test_ends_are_factors_on_the_forecast() -> None:
    assert Band(0.5, 3.0).around(20.0) == (10.0, 60.0)


def test_the_family_is_known_before_anything_is_measured() -> None:
    assert family_of(point(), "roofline") == Family(False, False, False)
    assert family_of(point(date="", image=""), "interpolated") == Family(True, False, True)
    experts = point(model="openai/gpt-oss-120b")
    assert family_of(experts, "measured") == Family(True, True, False)


def test_bands_without_tables_or_flags_are_the_wider_ones() -> None:
    def width(band: Band) -> float:
        return band.high / band.low

    for experts in (False, True):
        assert width(TTFT[False, experts, False]) > width(TTFT[True, experts, False])
    assert width(TTFT[False, False, True]) > width(TTFT[False, False, False])


def drawn(groups: int, spread: float, between: float) -> list[Ratio]:
    """Ratios of groups of 200 points, each group with an offset of its own."""
    rng = np.random.default_rng(7)
    family = Family(False, False, False)
    offsets = rng.normal(0.0, between, groups)
    return [
        Ratio(family, str(group), "vllm", float(np.exp(offset + rng.normal(0.0, spread))))
        for group, offset in enumerate(offsets)
        for _ in range(200)
    ]


def test_groups_alike_are_covered_by_the_band_of_the_others() -> None:
    found = drawn(groups=10, spread=0.2, between=0.0)
    assert coverage(found, fitted(found)) == pytest.approx(0.94, abs=0.005)
    assert left_out_coverage(found) == pytest.approx(0.94, abs=0.015)


def test_groups_of_their_own_kind_are_covered_less_when_left_out() -> None:
    found = drawn(groups=4, spread=0.05, between=0.5)
    assert coverage(found, fitted(found)) > left_out_coverage(found) + 0.1
    assert np.isnan(left_out_coverage(found[:200]))


@pytest.mark.slow
@pytest.mark.parametrize("has_tables", [False, True])
def test_bands_cover_the_development_part(data_dir: Path, has_tables: bool) -> None:
    if has_tables and not HAS_TABLES:
        pytest.skip('needs pip install "servecast[aic]"')
    measured = read_measured(data_dir / "groundtruth" / "silicon_dev.csv")
    predictor = Predictor(MeasuredCosts() if has_tables else None)
    forecast = list(predictor.predict([row.point for row in measured]))
    for metric in METRICS:
        found = ratios(forecast, measured, metric.name)
        for key in {metric.key(each.family) for each in found}:
            points = [each for each in found if metric.key(each.family) == key]
            share = coverage(points, metric.shipped(points[0].family))
            assert 0.85 < share < 0.97, (metric.name, key)
