"""From measured rows to a file of coefficients, on a few rows written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest
import yaml

from benchmarks.coefficient_file import COMMAND, CoefficientFile, file_text
from benchmarks.coefficient_problem import UNKNOWNS, Unknown
from benchmarks.fit_coefficients import coefficients_at, fitted, log_ratios, problem
from servecast.primitives.coefficients import Coefficients
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Predictor
from tests.profiler.silicon_rows import point

SGLANG_S = 3e-3
TRUTH = Coefficients(sglang_step_s=SGLANG_S)


def measured() -> list[Measured]:
    """What servers with a slow loop of SGLang would have measured, three groups an engine."""
    points = [
        point(point_id=f"{engine}{gpu}{load}", engine=engine, gpu=gpu, concurrency=str(load))
        for engine in ("vllm", "sglang")
        for gpu in ("H100-SXM-80GB", "H200-SXM-141GB", "B200-180GB")
        for load in (1, 4)
    ]
    found = Predictor(None, lambda _: TRUTH).predict(points)
    return [
        Measured(p, {"tpot_ms": each.tpot_ms, "ttft_ms": each.ttft_ms})
        for p, each in zip(points, found, strict=True)
    ]


ROWS = measured()


def unknowns(*names: str) -> Sequence[Unknown]:
    return [each for each in UNKNOWNS if each.name in names]


def test_ratios_vanish_at_the_truth_and_own_sweeps_have_none_of_ttft() -> None:
    assert log_ratios(ROWS, None, TRUTH) == pytest.approx(0.0, abs=1e-12)
    own = [Measured(point(date="", image=""), {"tpot_ms": 5.0, "ttft_ms": 50.0})]
    ((tpot, ttft),) = log_ratios(own, None, Coefficients())
    assert np.isfinite(tpot)
    assert np.isnan(ttft)


def test_a_row_that_is_not_forecast_has_no_ratio() -> None:
    refused = [Measured(point(mode="disagg"), {"tpot_ms": 5.0, "ttft_ms": 50.0})]
    assert np.isnan(log_ratios(refused, None, Coefficients())).all()


def test_a_slope_is_where_its_engine_is() -> None:
    chosen = unknowns("sglang_step_s", "bandwidth_factor")
    place = np.array([each.default for each in chosen])
    found = problem(ROWS, None, chosen, place)
    is_sglang = np.array([row.point.engine == "sglang" for row in ROWS])
    assert np.all(found.slopes[is_sglang, 0, 0] > 0)
    assert np.all(found.slopes[~is_sglang, :, 0] == 0)
    assert np.all(found.slopes[:, 0, 1] > 0)


def test_coefficients_at_a_place() -> None:
    chosen = unknowns("sglang_step_s", "compute_factor")
    found = coefficients_at(chosen, np.array([2.0, np.log(1.5)]))
    assert (found.sglang_step_s, found.trtllm_step_s) == (2e-3, Coefficients().trtllm_step_s)
    assert found.compute_factor == pytest.approx(1.5)


def test_what_differs_is_found_kept_and_written_with_its_report() -> None:
    report = fitted("roofline", ROWS, None)
    text = file_text(report, date(2026, 1, 2))
    file = CoefficientFile.model_validate(yaml.safe_load(text))
    assert list(file.coefficients) == ["sglang_step_s"]
    kept = file.coefficients["sglang_step_s"]
    assert 2e-3 < kept["value"] < SGLANG_S, "drawn to the default, as there are few rows"
    assert (kept["low"], kept["high"]) == (0.0, 5e-3)
    assert (file.fit.rows, file.fit.groups, file.fit.command) == (12, 6, COMMAND)
    assert file.fit.score["in-sample"] < file.fit.score["left out"] < file.fit.score["defaults"]
    assert set(file.fit.error_percent) == {"defaults", "in-sample", "left out"}
    sets = file.left_out_sets()
    assert len(sets) == 6
    assert all(each.vllm_step_s == Coefficients().vllm_step_s for each in sets.values())


def test_where_nothing_differs_nothing_is_kept() -> None:
    points = [row.point for row in ROWS]
    right = [
        Measured(p, {"tpot_ms": each.tpot_ms, "ttft_ms": each.ttft_ms})
        for p, each in zip(
            points, Predictor(None, lambda _: Coefficients()).predict(points), strict=True
        )
    ]
    report = fitted("roofline", right, None)
    assert report.unknowns == []
    file = CoefficientFile.model_validate(yaml.safe_load(file_text(report, date(2026, 1, 2))))
    assert file.coefficients == {}
