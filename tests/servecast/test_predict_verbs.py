"""`servecast predict` and `validate`, from file to file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import assert_refused, run
from tests.profiler.silicon_rows import row, write


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_points_to_predictions_to_errors() -> None:
    other = row(point_id="p-2", mode="disagg", ttft_ms="60", tpot_ms="9")
    write(Path("points.csv"), [row(ttft_ms="60", tpot_ms="9"), other])
    told = run("predict", "points.csv", "-o", "pred.csv")
    assert told.code == 0, told.err
    assert "1 of 2 points forecast" in told.out
    assert "1 refused: disaggregated" in told.out
    assert [line.split(",")[0] for line in Path("pred.csv").read_text().split()][1:3] == [
        "p-1",
        "p-2",
    ]
    compared = run("validate", "pred.csv", "points.csv")
    assert compared.code == 0, compared.err
    for words in ("InferenceX: Llama-3.1-70B H200 vllm fp8", "TPOT", "naive", "0.3%"):
        assert words in compared.out
    document = run("validate", "pred.csv", "points.csv", "--json").json
    assert document["all"]["tpot_ms"]["forecast"]["count"] == 1
    assert document["refused"] == {"disaggregated serving is not simulated yet": 1}


def test_predict_as_json() -> None:
    write(Path("points.csv"), [row()])
    told = run("predict", "points.csv", "-o", "pred.csv", "--json").json
    assert told == {"written": "pred.csv", "points": 1, "forecast": 1, "refused": {}}


def test_nothing_forecast_is_a_failure_and_the_file_says_why() -> None:
    write(Path("points.csv"), [row(mode="disagg")])
    assert run("predict", "points.csv", "-o", "pred.csv").code == 1
    assert "refused" in Path("pred.csv").read_text()


def test_bad_points_are_refused_before_anything_is_written() -> None:
    write(Path("points.csv"), [row(isl="-4")])
    told = run("predict", "points.csv", "-o", "pred.csv")
    assert_refused(told, 2, "line 2: isl is `-4`", "nothing was predicted")
    assert not Path("pred.csv").exists()
    assert_refused(run("validate", "points.csv", "points.csv"), 2, "no file of predictions")
