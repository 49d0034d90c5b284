"""Errors by group against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.profiler.measured_points import read_measured
from servecast.profiler.predict import Prediction
from servecast.profiler.prediction_file import predictions_csv, read_predictions
from servecast.profiler.validate import validate
from tests.profiler.silicon_rows import row, write


def test_errors_are_those_of_the_hand(tmp_path: Path) -> None:
    rows = [
        row(point_id=f"p-{i}", ttft_ms="100", tpot_ms=str(10 * (i + 1)), est_out_tok_s_per_gpu="50")
        for i in range(4)
    ]
    measured = read_measured(write(tmp_path / "m.csv", rows))
    forecast = [(11.0, 0), (18.0, 1), (36.0, 2)]
    predictions = [
        Prediction(
            f"p-{i}", 90.0, tpot, 0.0, 60.0, tpot_low_ms=0.85 * tpot, tpot_high_ms=1.15 * tpot
        )
        for tpot, i in forecast
    ]
    refused = Prediction("p-3", status="refused", reason="why not")
    found = validate([*predictions, refused], measured)
    errors = found.total.errors("tpot_ms")
    assert errors.count == 3
    assert errors.mape == pytest.approx((0.1 + 0.1 + 0.2) / 3)
    assert errors.median == pytest.approx(0.1)
    assert errors.p90 == pytest.approx(0.18)
    assert errors.signed == pytest.approx(0.1)
    assert errors.rank == pytest.approx(1.0)
    assert errors.covered == pytest.approx(2 / 3)
    assert math.isnan(found.total.errors("ttft_ms").covered), "no band, no coverage"
    assert found.total.errors("out_tok_s_per_gpu").signed == pytest.approx(0.2)
    assert found.total.errors("tpot_ms", naive=True).count == 3
    assert found.refusals == {"why not": 1}
    assert [group.name for group in found.groups] == ["InferenceX: Llama-3.1-70B H200 vllm fp8"]


def test_points_that_nobody_predicted_are_counted(tmp_path: Path) -> None:
    both = [row(ttft_ms="1", tpot_ms="1"), row(point_id="p-2", ttft_ms="1", tpot_ms="1")]
    measured = read_measured(write(tmp_path / "m.csv", both))
    found = validate([Prediction("p-1", 1.0, 1.0)], measured)
    assert found.refusals == {"not among the predictions": 1}
    with pytest.raises(InputError, match="no point_id"):
        validate([Prediction("x")], measured)


def test_predictions_survive_their_file(tmp_path: Path) -> None:
    kept = [
        Prediction(
            *("a", 1.5, 2.25, 3.0, 4.0, "ok", "mended", "roofline", 0.25),
            *(1.0, 2.0, 2.125, 4.0),
        ),
        Prediction("b", status="refused", reason="too large, and more"),
    ]
    path = tmp_path / "p.csv"
    path.write_text(predictions_csv(kept), encoding="utf-8")
    assert read_predictions(path) == kept
    path.write_text(path.read_text().replace("2.25", "fast"), encoding="utf-8")
    with pytest.raises(InputError, match="line 2: tpot_ms is `fast`"):
        read_predictions(path)


def test_measured_values_are_positive_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: ttft_ms is `-1`"):
        read_measured(write(tmp_path / "m.csv", [row(ttft_ms="-1", tpot_ms="1")]))
    with pytest.raises(InputError, match="lacks the measured columns ttft_ms"):
        read_measured(write(tmp_path / "m.csv", [row(tpot_ms="1")]))
