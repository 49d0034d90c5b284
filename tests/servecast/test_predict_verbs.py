"""`servecast predict` and `validate`, from file to file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, CostSource, Provenance
from servecast.primitives.deployment import Deployment
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity
from servecast.primitives.roofline import RooflineSource
from servecast.profiler import measured_costs
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
    assert "1 refused: a disaggregated row without prefill_num_workers" in told.out
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
    (reason,) = document["refused"]
    assert reason.startswith("a disaggregated row without prefill_num_workers")


def test_predict_as_json() -> None:
    write(Path("points.csv"), [row()])
    told = run("predict", "points.csv", "-o", "pred.csv", "--costs", "roofline", "--json").json
    counts = {"mostly": {"roofline": 1}, "refused": {}}
    assert told == {"written": "pred.csv", "points": 1, "forecast": 1, **counts}


class Measured:
    """The roofline, passed off as measured."""

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        return replace(RooflineSource().cost(operation, device), provenance=Provenance.MEASURED)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        return RooflineSource().seconds(operation, device)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        return None


def test_measured_tables_are_used_where_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Measured()

    def of(_: Deployment) -> CostSource:
        return source

    monkeypatch.setattr(measured_costs, "MeasuredCosts", lambda: of)
    write(Path("points.csv"), [row()])
    for costs in ((), ("--costs", "tables")):
        told = run("predict", "points.csv", "-o", "pred.csv", *costs)
        assert "1 with most of a decode step from measured kernels" in told.out
    told = run("predict", "points.csv", "-o", "pred.csv", "--costs", "roofline")
    assert "1 with most of a decode step from the roofline" in told.out


def test_without_tables_the_roofline_answers_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise InputError("the database is not installed", hint='pip install "servecast[aic]"')

    monkeypatch.setattr(measured_costs, "MeasuredCosts", missing)
    write(Path("points.csv"), [row()])
    told = run("predict", "points.csv", "-o", "pred.csv")
    assert told.code == 0
    assert "by the roofline alone: the database is not installed" in told.err
    assert "1 with most of a decode step from the roofline" in told.out
    refused = run("predict", "points.csv", "-o", "pred.csv", "--costs", "tables")
    assert_refused(refused, 2, "not installed", "servecast[aic]")


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
