"""The command for a rented GPU, on this machine's CPU with tiny models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_profile
from benchmarks.gpu_profile import STAGES, Plan, plan_of, tiny
from benchmarks.profiled_engine import Load, llama_config, narrowed
from benchmarks.profiled_steps import StepCheck, off_rows, ratio_rows
from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey, cost_table
from servecast.profiler.probe import COLLECTIVES, GROWING
from servecast.profiler.probe_setup import Backend

H200 = accelerator("h200_sxm")


def steps(*rows: tuple[int, int, int, int, float]) -> CostTable:
    """Profiled steps of a small decoder: sequences, queries, context, layers, seconds."""
    shape = (1024, 16, 8, 128, 3072, 32_000)
    points = np.array([[*row[:4], *shape] for row in rows])
    key = TableKey("model_step", "h200_sxm", "bf16", "servecast", "1", "kernel=sdpa")
    return cost_table(key, points, np.array([row[4] for row in rows]))


def test_the_stages_measure_everything_that_one_device_can_in_less_than_the_time() -> None:
    measured = {name for stage in STAGES for name in stage.operations}
    assert measured == set(GROWING) - set(COLLECTIVES)
    assert 0.5 < sum(stage.share for stage in STAGES) < 0.95, "the rest is the engine's"


def test_every_popular_model_and_every_load_can_be_run() -> None:
    plan = plan_of(Backend.CUDA)
    assert len(plan.models) == 6
    assert len(plan.served) == len(plan.loads) == 3
    for spec in plan.served:
        assert narrowed(spec).num_layers == spec.num_layers
    for load in (*plan.loads, *(load.between() for load in plan.loads)):
        options = load.options()
        longest = load.prompt_tokens + load.output_tokens
        assert options.num_blocks * options.page_size >= longest * load.concurrency
        assert load.workload().output_tokens.min() >= 1


def test_a_verification_and_a_skipped_step_are_told_in_decode_steps() -> None:
    table = steps((8, 1, 512, 28, 10e-3), (8, 4, 512, 28, 13e-3), (8, 1, 512, 15, 6e-3))
    told = {row["step"]: row["in decodes"] for row in ratio_rows([table])}
    assert told == pytest.approx({"4 queries": 1.3, "15 of 28 layers": 0.6})


def test_steps_are_compared_with_the_sum_of_their_kernels() -> None:
    """With nothing but the roofline behind the kernels, which knows no verification."""
    (row,) = StepCheck(CostStore([steps((8, 1, 512, 28, 1.0))]), H200).rows()
    predicted_s = float(row["predicted ms"]) / 1e3
    table = steps((8, 1, 512, 28, predicted_s / 2), (8, 4, 512, 28, 1.0))
    rows = StepCheck(CostStore([table]), H200).rows()
    assert [row["off %"] for row in rows] == pytest.approx([100])
    assert off_rows(rows) == [
        {"step": "decode", "points": 1, "median %": pytest.approx(100), "P90 %": pytest.approx(100)}
    ]


def test_a_verification_adds_the_attention_that_was_measured_for_it() -> None:
    key = TableKey("verify_attention", "h200_sxm", "bf16", "servecast", "1", "kv=bf16,kernel=sdpa")
    points = np.array([[b, 4, c, 16, 8, 128, 0] for b in (1, 8) for c in (512, 2048)])
    attention = cost_table(key, points, np.array([1e-3, 2e-3, 3e-3, 4e-3]))
    dearer = cost_table(key, points, np.array([1e-3, 2e-3, 5e-3, 6e-3]))
    table = steps((8, 4, 512, 28, 1.0))
    one, other = (
        StepCheck(CostStore([table, each]), H200).rows()[0]["predicted ms"]
        for each in (attention, dearer)
    )
    assert float(other) - float(one) == pytest.approx(28 * 2.0)


def test_the_engine_takes_plain_decoders_alone() -> None:
    with pytest.raises(UnsupportedError, match="no plain decoder"):
        llama_config(model("openai/gpt-oss-20b"))


@pytest.mark.slow
@pytest.mark.engine(name="transformers")
def test_a_few_seconds_of_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    whole = plan_of(Backend.CPU)
    short = replace(
        whole, models=(tiny(1, 64),), served=(tiny(1, 64),), loads=(Load(16, 8, 4, 24),)
    )

    def plan(backend: Backend) -> Plan:
        assert backend is Backend.CPU
        return short

    monkeypatch.setattr(gpu_profile, "plan_of", plan)
    gpu_profile.main(
        ["--gpu", "cpu_i9_13900k", "--device", "cpu", "--minutes", "0.4", "--out", str(tmp_path)]
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert [row["stage"] for row in report["stages"]] == [stage.name for stage in STAGES]
    assert {table.key.dtype for table in read_costs(tmp_path / "costs.csv.gz")} >= {"fp32", "fp8"}
    assert report["whole steps, in short"]
    (row,) = report["engine"]
    for name in ("TTFT ms", "TPOT ms", "tokens/s"):
        assert row[name] > 0
