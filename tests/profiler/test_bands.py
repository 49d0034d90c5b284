"""Bands around forecasts: which one applies, and that they hold what was measured."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.band_widths import (
    LEAST_COVERED,
    METRICS,
    Ratio,
    coverage,
    file_text,
    fitted,
    left_out_coverage,
    ratios,
    width,
)
from servecast.profiler.bands import (
    BANDS_FILE,
    Band,
    Family,
    family_of,
    shipped_bands,
    tpot_band,
    ttft_band,
)
from servecast.profiler.measured_costs import MeasuredCosts
from servecast.profiler.measured_points import read_measured
from servecast.profiler.predict import Predictor
from tests.profiler.silicon_rows import point

HAS_TABLES = all(importlib.util.find_spec(n) for n in ("aiconfigurator_core", "pyarrow"))


def test_every_family_has_a_band_around_the_forecast() -> None:
    both = (False, True)
    for family in (Family(t, e, o) for t in both for e in both for o in both):
        for band in (tpot_band(family), ttft_band(family)):
            assert 0 < band.low < band.high
    assert len(shipped_bands()) == 12, "few numbers"


def test_ends_are_factors_on_the_forecast() -> None:
    assert Band(0.5, 3.0).around(20.0) == (10.0, 60.0)


def test_the_family_is_known_before_anything_is_measured() -> None:
    assert family_of(point(), "roofline") == Family(False, False, False)
    assert family_of(point(date="", image=""), "interpolated") == Family(True, False, True)
    experts = point(model="openai/gpt-oss-120b")
    assert family_of(experts, "measured") == Family(True, True, False)


def test_bands_of_unknown_flags_are_the_wider_ones() -> None:
    for tables in (False, True):
        known, unknown = (ttft_band(Family(tables, False, own)) for own in (False, True))
        assert unknown.high / unknown.low > known.high / known.low


def test_what_ships_covers_what_the_rule_promises() -> None:
    with BANDS_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["left_out"]) >= LEAST_COVERED
            assert 0.85 <= float(row["in_sample"]) <= (0.95 if row["widened"] == "1.00" else 1.0)


def drawn(groups: int, spread: float, between: float) -> list[Ratio]:
    """Ratios of groups of 200 points, each group with an offset of its own."""
    rng = np.random.default_rng(7)
    offsets = rng.normal(0.0, between, groups)
    values = [
        (str(group), float(np.exp(offset + rng.normal(0.0, spread))))
        for group, offset in enumerate(offsets)
        for _ in range(200)
    ]
    return [Ratio(group, value, value) for group, value in values]


def test_groups_alike_are_covered_by_the_band_of_the_others() -> None:
    found = drawn(groups=10, spread=0.2, between=0.0)
    inside = coverage([each.value for each in found], fitted(found))
    assert inside == pytest.approx(0.94, abs=0.005)
    assert left_out_coverage(found) == pytest.approx(0.94, abs=0.015)
    assert width("tpot_ms", ("tables", "dense", "all"), found).widened == 1.0


def test_groups_of_their_own_kind_have_the_band_widened_around_its_middle() -> None:
    found = drawn(groups=4, spread=0.05, between=0.5)
    inside = coverage([each.value for each in found], fitted(found))
    assert inside > left_out_coverage(found) + 0.1
    wide = width("tpot_ms", ("tables", "dense", "all"), found)
    assert wide.widened > 1.0
    assert wide.left_out >= LEAST_COVERED
    narrow = fitted(found)
    assert wide.band.low < narrow.low < narrow.high < wide.band.high
    middle = wide.band.low * wide.band.high
    assert middle == pytest.approx(narrow.low * narrow.high)


def test_one_group_alone_cannot_vouch_for_another() -> None:
    one = drawn(groups=1, spread=0.1, between=0.0)
    assert np.isnan(left_out_coverage(one))
    assert width("tpot_ms", ("tables", "dense", "all"), one).widened == 1.0


def test_the_file_has_a_line_a_band() -> None:
    found = width("ttft_ms", ("roofline", "experts", "own sweep"), drawn(3, 0.1, 0.1))
    head, line = file_text([found]).splitlines()
    row = dict(zip(head.split(","), line.split(","), strict=True))
    assert (row["metric"], row["model"], row["rows"]) == ("ttft_ms", "experts", "own sweep")
    assert float(row["low"]) == pytest.approx(found.band.low, abs=0.005)
    assert (row["points"], row["groups"]) == ("600", "3")


@pytest.mark.slow
@pytest.mark.parametrize("has_tables", [False, True])
def test_bands_cover_the_development_part(data_dir: Path, has_tables: bool) -> None:
    if has_tables and not HAS_TABLES:
        pytest.skip('needs pip install "servecast[aic]"')
    measured = read_measured(data_dir / "groundtruth" / "silicon_dev.csv")
    forecast = list(
        Predictor(MeasuredCosts() if has_tables else None).predict([m.point for m in measured])
    )
    for metric in METRICS:
        for circumstance, found in ratios(measured, forecast, forecast, metric).items():
            share = coverage([each.value for each in found], shipped_bands()[metric, circumstance])
            assert share > 0.85, (metric, circumstance)
