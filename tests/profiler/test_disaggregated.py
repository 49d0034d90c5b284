"""Rows of two pools become deployments, and forecasts that move the right way."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.dtype import Dtype
from servecast.profiler.disaggregated import PoolForecast, forecast_pools, gpus_of, pools_of
from servecast.profiler.measured_points import read_measured
from servecast.profiler.point_costs import PointCosts
from servecast.profiler.predict import Predictor
from servecast.profiler.validate import validate
from tests.profiler.silicon_rows import point, pools

COSTS = PointCosts()


def forecast(**cells: str) -> PoolForecast:
    return forecast_pools(pools(**cells), COSTS)


def test_each_pool_is_deployed_as_its_columns_say() -> None:
    prefill, decode = pools_of(pools(precision="fp8"))
    assert (prefill.deployment.tensor_parallel_size, prefill.cut.attention_data) == (1, 4)
    assert (decode.deployment.tensor_parallel_size, decode.cut.attention_data) == (8, 1)
    assert prefill.deployment.max_num_batched_tokens == 8192
    assert decode.deployment.max_num_seqs == 4, "six clients a worker, four at once"
    assert decode.deployment.weights_dtype is Dtype.FP8
    assert gpus_of(pools()) == 1 * 4 + 4 * 8


def test_ranks_that_decode_share_the_clients_of_their_worker() -> None:
    cells = {"decode_tp_size": "1", "decode_attention_dp_size": "8", "engine": "sglang"}
    _, decode = pools_of(pools(concurrency="128", **cells))
    assert decode.deployment.max_num_seqs == 4
    assert decode.deployment.all2all_backend == "deepep_low_latency"


def test_labels_that_were_mended_are_named() -> None:
    kimi = {"model": "moonshotai/Kimi-K2.5", "engine": "vllm", "gpu": "GB200-192GB"}
    cells = {"precision": "fp4", "prefill_tp_size": "4", "prefill_attention_dp_size": "1"}
    (found,) = Predictor().predict([pools(**kimi, **cells)])
    assert found.reason == "prefill_tp_size 4 is attention data parallelism in vLLM's recipes"
    assert forecast().repair == ""


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_row_that_does_not_state_a_pool_is_refused(role: str) -> None:
    with pytest.raises(UnsupportedError, match=f"without {role}_num_workers"):
        pools_of(pools(**{f"{role}_num_workers": ""}))


def test_an_aggregated_row_states_none() -> None:
    with pytest.raises(UnsupportedError, match="without prefill_num_workers"):
        forecast_pools(point(), COSTS)


def test_the_parts_of_a_forecast_fit_together() -> None:
    found = forecast()
    outputs = 0.9 * 1024
    assert found.e2e_s == pytest.approx(found.ttft_s + (outputs - 1) * found.tpot_s, rel=0.02)
    assert sum(found.origin.shares.values()) == pytest.approx(1.0)
    assert found.gpus == 36


def test_more_clients_than_places_wait_and_no_token_is_slower_for_it() -> None:
    """Two thirds of 24 clients find a place; TPOT is that of the 16 who do."""
    waiting, fitting = forecast(precision="fp8"), forecast(precision="fp8", concurrency="16")
    assert waiting.ttft_s > 5 * fitting.ttft_s
    assert waiting.tpot_s == pytest.approx(fitting.tpot_s, rel=0.02)


def test_more_prompt_workers_shorten_the_wait_for_prompts_alone() -> None:
    cells = {"isl": "8192", "engine": "sglang", "concurrency": "64", "precision": "fp8"}
    one, four = (forecast(**cells, prefill_num_workers=n) for n in ("1", "4"))
    assert four.ttft_s < 0.8 * one.ttft_s
    assert four.tpot_s >= one.tpot_s


def test_both_verbs_take_the_row() -> None:
    row = pools()
    (found,) = Predictor().predict([row])
    assert found.status == "ok"
    assert found.ttft_ms is not None
    assert found.tpot_ms is not None
    assert found.out_tok_s_per_gpu is not None
    assert found.band("tpot_ms") is None
    seconds = (found.ttft_ms + 1023 * found.tpot_ms) / 1e3
    assert found.out_tok_s_per_gpu == pytest.approx(24 * 1024 / seconds / 36)


@pytest.mark.slow
def test_rows_of_the_development_part_are_as_near_as_documented(data_dir: Path) -> None:
    path = data_dir / "groundtruth" / "silicon_dev.csv"
    rows = [row for row in read_measured(path) if row.point.decode is not None]
    assert len(rows) == 157
    started = time.process_time()
    found = list(Predictor().predict([row.point for row in rows]))
    assert time.process_time() - started < 60
    assert all(each.status == "ok" for each in found)
    total = validate(found, rows).total
    for metric, median in (("tpot_ms", 0.15), ("ttft_ms", 0.35)):
        errors = total.errors(metric)
        assert errors.median < median
        assert errors.median < 0.5 * total.errors(metric, naive=True).median
        assert np.isnan(errors.covered)
