"""Every point gets a row: a forecast with its provenance, or a reason."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from servecast.primitives.dtype import Dtype
from servecast.profiler.point_deployment import deployment_of
from servecast.profiler.predict import Prediction, Predictor
from servecast.profiler.silicon_points import read_points
from tests.profiler.silicon_rows import point


def predicted(**cells: str) -> Prediction:
    (found,) = Predictor().predict([point(**cells)])
    return found


def test_a_forecast_has_all_numbers_and_they_fit_together() -> None:
    found = predicted()
    assert found.status == "ok"
    assert found.provenance == "roofline"
    assert found.relative_error == pytest.approx(0.25)
    for metric, forecast in (("ttft_ms", found.ttft_ms), ("tpot_ms", found.tpot_ms)):
        low, high = found.band(metric) or (0.0, 0.0)
        assert low < (forecast or 0.0) < high
    assert found.band("e2e_ms") is None
    assert found.ttft_ms is not None
    assert found.tpot_ms is not None
    assert found.e2e_ms is not None
    assert found.out_tok_s_per_gpu is not None
    # outputs are 90 % of 128 tokens on average
    assert found.e2e_ms == pytest.approx(found.ttft_ms + 114.2 * found.tpot_ms, rel=0.02)
    seconds = (found.ttft_ms + 127 * found.tpot_ms) / 1e3
    assert found.out_tok_s_per_gpu == pytest.approx(4 * 128 / seconds / 8)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_every_engine_is_forecast(engine: str) -> None:
    assert predicted(engine=engine).status == "ok"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"mode": "disagg"}, "disaggregated"),
        ({"pp_size": "2"}, "pipeline"),
        ({"concurrency": "", "batch_size": ""}, "concurrency"),
        ({"model": "no/such-model"}, "`no/such-model` is unknown"),
        ({"gpu": "B2000"}, "`B2000` is unknown"),
        ({"tp_size": "16"}, "16 GPUs are more than the 8 of a node"),
        (
            {"model": "deepseek-ai/DeepSeek-R1", "gpu": "GB200-192GB", "tp_size": "72"},
            "72 GPUs are more than the 8 of a node",
        ),
        ({"tp_size": "1", "precision": "bf16", "gpu": "H100-SXM-80GB"}, "KV cache"),
    ],
)
def test_what_cannot_be_forecast_says_why(cells: dict[str, str], reason: str) -> None:
    found = predicted(**cells)
    assert found.status == "refused"
    assert reason in found.reason
    assert "\n" not in found.reason
    assert found.tpot_ms is None
    assert found.band("tpot_ms") is None


def test_attention_data_parallelism_is_forecast_for_one_of_its_ranks() -> None:
    sizes = {"tp_size": "1", "attention_dp_size": "4", "moe_tp_size": "1", "moe_ep_size": "4"}
    row = {"model": "openai/gpt-oss-120b", "engine": "trtllm", "gpu": "B200-180GB", **sizes}
    deployment, _, cut = deployment_of(point(**row, concurrency="64"))
    assert (deployment.data_parallel_size, cut.gpus) == (4, 4)
    ranks = predicted(**row, concurrency="64")
    assert ranks.status == "ok"
    assert ranks.tpot_ms is not None
    assert ranks.ttft_ms is not None
    assert ranks.out_tok_s_per_gpu is not None
    seconds = (ranks.ttft_ms + 127 * ranks.tpot_ms) / 1e3
    assert ranks.out_tok_s_per_gpu == pytest.approx(64 * 128 / seconds / 4)
    fuller = predicted(**row, concurrency="256").tpot_ms
    assert fuller is not None
    assert fuller > ranks.tpot_ms


def test_a_server_that_drafts_is_faster_a_token() -> None:
    row = {"model": "deepseek-ai/DeepSeek-R1", "engine": "trtllm", "gpu": "B200-180GB"}
    plain = predicted(**row, engine_version="1.2.0rc6.post2").tpot_ms
    drafting = predicted(**row, engine_version="1.2.0rc6.post3").tpot_ms
    assert plain is not None
    assert drafting is not None
    assert plain / 2.7 < drafting < plain / 1.3


def test_points_do_not_depend_on_the_company_they_are_in() -> None:
    points = [point(), point(point_id="p-2", concurrency="64"), point(point_id="p-3", isl="8192")]
    together = list(Predictor().predict(points))
    assert together == [next(Predictor().predict([each])) for each in points]


def test_formats_are_those_of_the_label_and_a_blank_is_bf16() -> None:
    def weights(**cells: str) -> Dtype:
        return deployment_of(point(**cells))[0].weights_dtype

    assert weights() is Dtype.FP8
    assert weights(precision="") is Dtype.BF16
    assert weights(precision="fp4") is Dtype.NVFP4
    assert weights(model="openai/gpt-oss-120b", precision="fp8") is Dtype.MXFP4


@pytest.mark.slow
def test_dense_rows_of_the_development_part_are_as_near_as_documented(data_dir: Path) -> None:
    from servecast.profiler.measured_points import read_measured

    path = data_dir / "groundtruth" / "silicon_dev.csv"
    chosen = {
        p.point_id: p
        for p in read_points(path)
        if p.model.endswith("Llama-3.1-70B") and p.mode == "agg"
    }
    started = time.process_time()
    found = list(Predictor().predict(list(chosen.values())))
    assert len(found) / (time.process_time() - started) > 25, "half the speed that is promised"
    measured = {m.point.point_id: m.values for m in read_measured(path)}
    assert all(each.status == "ok" for each in found)
    for metric, median in (("tpot_ms", 0.09), ("ttft_ms", 0.20)):
        errors = [getattr(p, metric) / (measured[p.point_id][metric] or 1) - 1 for p in found]
        assert np.median(np.abs(errors)) < median
