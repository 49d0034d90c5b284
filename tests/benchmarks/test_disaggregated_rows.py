"""The table of errors of disaggregated rows, from a few that are forecast by hand."""

from __future__ import annotations

from benchmarks.disaggregated_rows import errors
from servecast.primitives.coefficients import CostKind
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Prediction
from tests.profiler.silicon_rows import pools


def measured(point_id: str, **cells: str) -> Measured:
    values = {"ttft_ms": 100.0, "tpot_ms": 10.0, "out_tok_s_per_gpu": None}
    return Measured(pools(point_id=point_id, **cells), values)


ROWS = [
    measured("tensor"),
    measured("data", decode_tp_size="1", decode_attention_dp_size="8"),
    measured("sglang", engine="sglang"),
    measured("own", date="", image=""),
]


def predicted(factor: float) -> list[Prediction]:
    return [Prediction(row.point.point_id, 100.0 * factor, 10.0 * factor) for row in ROWS]


def test_rows_are_told_apart_by_engine_and_by_how_decoding_ranks_are_cut() -> None:
    found: dict[CostKind, list[Prediction]] = {
        "tables": predicted(1.1),
        "roofline": predicted(0.8),
    }
    head, _, *lines = errors(ROWS, found).splitlines()
    assert [line.split(" | ")[0] for line in lines] == [
        "| InferenceX, SGLang",
        "| InferenceX, TensorRT-LLM",
        "| – tensor parallel",
        "| – attention data parallel",
        "| InferenceX, all",
        "| own sweeps",
        "| all",
    ]
    assert [line.split(" | ")[1] for line in lines] == ["1", "2", "1", "1", "3", "1", "4"]
    assert head.startswith("| rows | n | TPOT, measured tables | TPOT, roofline |")
    high, low = "10.0 / 10.0 / +10.0", "20.0 / 20.0 / −20.0"
    assert lines[-1].split(" | ")[2:6] == [high, low, high, low]


def test_a_refused_row_is_counted_nowhere() -> None:
    refused = [Prediction("tensor", status="refused", reason="no"), *predicted(1.1)[1:]]
    lines = errors(ROWS, {"tables": refused, "roofline": refused}).splitlines()
    assert lines[-1].split(" | ")[1] == "3"
