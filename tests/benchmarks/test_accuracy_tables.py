"""The tables of errors: what a few forecasts become, and where the documents hold them."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.accuracy import ROOT, documents, source_of
from benchmarks.accuracy import forecasts as predicted
from benchmarks.accuracy_sections import Forecasts, Scores, Section, scores
from benchmarks.accuracy_tables import by_engine, by_family, headline, ranks, refusals
from benchmarks.marked_text import replaced
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Prediction
from servecast.profiler.validate import Pairs
from tests.profiler.silicon_rows import point


def pairs(*ratios: float, refused: int = 0) -> Pairs:
    """Forecasts of 10 ms by these ratios, bands of ± 20 %, a naive forecast of a half."""
    found = Pairs("x", refused=refused)
    for metric in ("tpot_ms", "ttft_ms", "out_tok_s_per_gpu"):
        for ratio in ratios:
            forecast = 10.0 * ratio
            found.rows[metric].append((forecast, 10.0, forecast * 0.8, forecast * 1.2, 5.0))
    return found


DENSE = Section("InferenceX", "dense", "", pairs(1.1, 0.9, 1.1), pairs(1.2, 0.8, 1.2))
VLLM = Section("InferenceX", "dense", "vLLM", pairs(1.1, 0.7), pairs(1.2, 0.6))
ODD = Section("set aside", "gpt-oss-120b H100", "vLLM", pairs(3.0), pairs(3.0))
FOUND = Scores([DENSE, VLLM], [ODD], Counter({"no room": 7}), 12, (0.97, 0.9))


def test_errors_by_engine() -> None:
    assert by_engine(FOUND).splitlines()[2:] == [
        "| InferenceX, dense | 3 | 10.0 / 10.0 / +10.0 | 20.0 / 20.0 "
        "| 10.0 / 10.0 / +10.0 | 20.0 / 20.0 | 50 / 50 | 100 / 100 |",
        "| – vLLM | 2 | 20.0 / 28.0 / −10.0 | 30.0 / 38.0 "
        "| 20.0 / 28.0 / −10.0 | 30.0 / 38.0 | 50 / 50 | 50 / 50 |",
        "| set aside, gpt-oss-120b H100, vLLM | 1 | 200.0 / 200.0 / +200.0 | 200.0 / 200.0 "
        "| 200.0 / 200.0 / +200.0 | 200.0 / 200.0 | 50 / 50 | 0 / 0 |",
    ]


def test_errors_by_family_leave_engines_out() -> None:
    assert by_family(FOUND).splitlines()[2:] == [
        "| InferenceX, dense | 3 | 10.0 / 10.0 / +10.0 (50) | 10.0 / 10.0 / +10.0 (50) "
        "| 10.0 / 10.0 / +10.0 |"
    ]


def test_the_headline_is_what_was_left_out_of_the_fit() -> None:
    own = Section("own sweeps", "dense", "", pairs(1.0), pairs(1.0))
    worse = Scores([VLLM, DENSE, own], [], Counter(), 12, (0.9, 0.8))
    assert headline({"tables": FOUND, "roofline": worse}).splitlines() == [
        "| rows | n | metric | measured tables | roofline | naive roofline |",
        "| --- | --- | --- | --- | --- | --- |",
        "| InferenceX, dense | 3 | TPOT | 20.0 / 20.0 | 20.0 / 20.0 | 50.0 / 50.0 |",
        "| InferenceX, dense | 3 | TTFT | 20.0 / 20.0 | 20.0 / 20.0 | 50.0 / 50.0 |",
    ]


def test_ranks_stand_beside_the_noise_floor() -> None:
    first, floor = ranks({"roofline": FOUND}).splitlines()
    assert first.startswith("- Roofline: rank correlation in 12 sets")
    assert "TPOT 0.970, TTFT 0.900" in first
    assert "TPOT 0.3 % (median), 10 % (P90)" in floor


def test_refusals_are_counted() -> None:
    assert refusals(FOUND.refusals).splitlines()[2:] == ["| 7 | no room |"]


@pytest.mark.parametrize("name", ["README.md", "docs/accuracy.md", "docs/predict.md"])
def test_every_part_has_its_place_in_the_documents_and_fills_it(name: str) -> None:
    parts = documents({"tables": FOUND, "roofline": FOUND}, "| pools |")[name]
    text = (ROOT / name).read_text(encoding="utf-8")
    found = replaced(text, parts)
    assert all(part in found for part in parts.values())
    assert replaced(found, parts) == found


def test_the_documents_hold_results() -> None:
    for name, parts in documents({"tables": FOUND, "roofline": FOUND}, "| pools |").items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for part in parts:
            _, _, rest = text.partition(f"<!-- {part}: written")
            assert rest.partition(f"<!-- {part}: end")[0].count("\n") > 2, part


def measured(point_id: str, **cells: str) -> Measured:
    found = point(point_id=point_id, **cells)
    load = found.clients or 0
    values = {"ttft_ms": 100.0 + load, "tpot_ms": 10.0 + load / 10, "out_tok_s_per_gpu": None}
    return Measured(found, values)


def prediction(row: Measured, tpot_ms: float) -> Prediction:
    tpot_ms *= (row.values["tpot_ms"] or 0.0) / 10.0
    return Prediction(row.point.point_id, row.values["ttft_ms"], tpot_ms, provenance="roofline")


def forecasts(rows: list[Measured]) -> Forecasts:
    """Every row's TPOT 10 % high as shipped and 30 % high left out; the last is refused."""
    shipped, left_out = ([prediction(row, each) for row in rows] for each in (11.0, 13.0))
    shipped[-1] = left_out[-1] = Prediction(rows[-1].point.point_id, status="refused", reason="no")
    return Forecasts(rows, shipped, left_out)


def test_rows_are_sorted_by_origin_family_and_engine_and_odd_ones_set_aside() -> None:
    own = {"date": "", "image": ""}
    odd = {"model": "openai/gpt-oss-120b", "gpu": "H100-SXM-80GB", "concurrency": "512"}
    rows = [
        *(measured(f"v{load}", concurrency=str(load)) for load in range(1, 10)),
        *(measured(f"t{load}", concurrency=str(load), engine="trtllm") for load in (1, 2)),
        measured("own", **own),
        measured("odd", **odd),
        measured("refused"),
    ]
    found = scores(forecasts(rows))
    shown = [(each.origin, each.family, each.engine) for each in found.sections]
    assert shown == [
        ("InferenceX", "dense", ""),
        ("InferenceX", "dense", "vLLM"),
        ("InferenceX", "dense", "TensorRT-LLM"),
        ("InferenceX", "all", ""),
        ("own sweeps", "dense", ""),
        ("own sweeps", "all", ""),
        ("all", "all", ""),
    ]
    counts = [each.shipped.errors("tpot_ms").count for each in found.sections]
    assert counts == [11, 9, 2, 11, 1, 1, 12]
    assert [each.family for each in found.set_aside] == ["gpt-oss-120b H100"]
    assert found.refusals == {"no": 1}
    assert found.sets == 1
    assert found.ranks == pytest.approx((1.0, 1.0))
    everything = found.sections[-1]
    assert everything.shipped.errors("tpot_ms").signed == pytest.approx(0.1)
    assert everything.left_out.errors("tpot_ms").signed == pytest.approx(0.3)
    assert everything.shipped.errors("tpot_ms").covered == 1.0


def test_a_group_left_out_is_forecast_by_the_costs_without_it() -> None:
    rows = [measured("a"), measured("b", gpu="H100-SXM-80GB")]
    slow = source_of(RooflineSource(RooflineCoefficients(gemm_bandwidth=0.35)))
    normal = source_of(RooflineSource())
    found = predicted("roofline", normal, rows, {"Llama-3.1-70B H100 vllm": slow})
    assert found.left_out[0] == found.shipped[0]
    assert (found.left_out[1].tpot_ms or 0) > 1.2 * (found.shipped[1].tpot_ms or 0)
