"""A scenario becomes the deployment and the workload that it states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servecast.domain import deployment, workload
from servecast.errors import InfeasibleError, InputError
from servecast.loading import builtin, loads
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.dtype import Dtype
from servecast.search.engine_defaults import defaults
from tests.servecast.minimal import FIXED, changed


def with_options(options: str) -> str:
    return changed("{max_num_seqs: 64}", f"{{{options}}}").replace("gpus: 1", "gpus: 8")


def with_traffic(traffic: str) -> str:
    start, end = FIXED.index("workload"), FIXED.index("slo")
    return f"{FIXED[:start]}workload: {{{traffic}}}\n{FIXED[end:]}"


def test_what_is_stated_is_taken() -> None:
    stated = deployment(
        loads(
            with_options(
                "replicas: 2, tensor_parallel_size: 4, quantization: fp8, kv_cache_dtype: fp8, "
                "max_model_len: 4096, max_num_seqs: 32, max_num_batched_tokens: 1024, "
                "block_size: 32, gpu_memory_utilization: 0.8, num_gpu_blocks_override: 500, "
                "routing: central_queue, scheduling_policy: priority, "
                "long_prefill_token_threshold: 256, long_prefill_token_threshold_adaptive: true"
            )
        )
    )
    assert (stated.replicas, stated.tensor_parallel_size, stated.gpus) == (2, 4, 8)
    assert (stated.weights_dtype, stated.kv_cache_dtype) == (Dtype.FP8, Dtype.FP8)
    assert (stated.max_model_len, stated.max_num_seqs, stated.max_num_batched_tokens) == (
        4096,
        32,
        1024,
    )
    assert (stated.block_size, stated.gpu_memory_utilization) == (32, 0.8)
    assert (stated.num_gpu_blocks_override, stated.routing) == (500, "central_queue")
    assert (stated.scheduling_policy, stated.long_prefill_token_threshold) == ("priority", 256)
    assert stated.long_prefill_token_threshold_adaptive
    assert stated.usd_per_gpu_hour == 2.5


def test_what_is_not_stated_is_the_engines_default() -> None:
    unstated = deployment(loads(changed("{max_num_seqs: 64}", "{}")))
    engine = defaults("vllm", "0.32", accelerator("h100_sxm"))
    assert unstated.max_model_len == model("meta-llama/Llama-3.1-8B-Instruct").max_model_len
    assert unstated.max_num_seqs == engine.max_num_seqs
    assert unstated.max_num_batched_tokens == engine.max_num_batched_tokens
    assert unstated.gpu_memory_utilization == engine.gpu_memory_utilization
    assert unstated.weights_dtype == Dtype.BF16
    assert unstated.kv_cache_dtype == Dtype.BF16
    assert unstated.num_gpu_blocks_override is None
    assert (unstated.scheduling_policy, unstated.long_prefill_token_threshold) == ("fcfs", 0)


def test_the_model_keeps_the_repository_that_the_user_named() -> None:
    assert deployment(loads(FIXED)).model.name == "meta-llama/Llama-3.1-8B-Instruct"


def test_the_price_is_the_scenarios_or_else_the_catalogues() -> None:
    assert deployment(loads(FIXED)).usd_per_gpu_hour == 2.5
    public = deployment(loads(changed(", usd_per_gpu_hour: 2.5", "")))
    assert public.usd_per_gpu_hour == accelerator("h100_sxm").usd_per_hour


def test_a_choice_fixes_what_is_open() -> None:
    scenario = builtin()
    choice = {"tensor_parallel_size": 4, "max_num_seqs": 128, "max_num_batched_tokens": 4096}
    fixed = deployment(scenario, choice)
    assert (fixed.tensor_parallel_size, fixed.max_num_seqs) == (4, 128)
    with pytest.raises(InputError, match="leaves max_num_batched_tokens open"):
        deployment(scenario, {"tensor_parallel_size": 4, "max_num_seqs": 128})


def test_automatic_replicas_fill_the_budget_unless_chosen() -> None:
    scenario = loads(with_options("replicas: auto, tensor_parallel_size: 2"))
    assert deployment(scenario).replicas == 4
    assert deployment(scenario, {"replicas": 3}).replicas == 3
    with pytest.raises(InfeasibleError, match="takes 10 GPUs, and the budget is 8"):
        deployment(scenario, {"replicas": 5})


def test_a_replica_larger_than_the_budget_is_infeasible() -> None:
    scenario = loads(with_options("replicas: auto, tensor_parallel_size: [8, 16]"))
    with pytest.raises(InfeasibleError, match="takes 16 GPUs"):
        deployment(scenario, {"tensor_parallel_size": 16})


def test_where_the_engines_limits_are_unknown_they_must_be_stated() -> None:
    text = changed("h100_sxm", "cpu_i9_13900k")
    with pytest.raises(InputError) as told:
        deployment(loads(text))
    assert "max_num_batched_tokens" in (told.value.hint or "")
    stated = text.replace("max_num_seqs: 64", "max_num_seqs: 64, max_num_batched_tokens: 512")
    assert deployment(loads(stated)).max_num_batched_tokens == 512


def test_limits_that_the_engine_refuses_are_refused() -> None:
    scenario = loads(with_options("max_num_seqs: 512, max_num_batched_tokens: [256, 1024]"))
    with pytest.raises(InputError, match="must not be below max_num_seqs"):
        deployment(scenario, {"max_num_batched_tokens": 256})


def test_fixed_lengths_at_a_steady_rate() -> None:
    drawn = workload(loads(changed("rate: 720/min", "rate: 720/min, cv: 0")))
    assert drawn.prompt_tokens.tolist() == [100] * 5
    assert drawn.output_tokens.tolist() == [10] * 5
    assert drawn.rate_per_s == pytest.approx(12.0)
    assert len(set(np.diff(drawn.arrival_ns))) <= 2


def test_a_closed_loop() -> None:
    drawn = workload(
        loads(with_traffic("synthetic: chat, requests: 9, concurrency: 3, think: 1.5s"))
    )
    assert (drawn.concurrency, drawn.think_ns) == (3, 1_500_000_000)
    assert not drawn.arrival_ns.any()


def test_burstiness_is_the_inverse_square_of_the_coefficient_of_variation() -> None:
    traffic = "synthetic: chat, requests: 50, rate: 2/s, "
    by_cv = workload(loads(with_traffic(traffic + "cv: 2.0")))
    by_burstiness = workload(loads(with_traffic(traffic + "burstiness: 0.25")))
    assert np.array_equal(by_cv.arrival_ns, by_burstiness.arrival_ns)
    assert not np.array_equal(by_cv.arrival_ns, workload(loads(with_traffic(traffic))).arrival_ns)


def test_the_workloads_own_seed_wins_over_the_scenarios() -> None:
    traffic = with_traffic("synthetic: chat, requests: 20, rate: 2/s")
    own = traffic.replace("rate: 2/s", "rate: 2/s, seed: 7")
    drawn = [workload(loads(text)) for text in (traffic + "seed: 7\n", own + "seed: 1\n", traffic)]
    assert np.array_equal(drawn[0].prompt_tokens, drawn[1].prompt_tokens)
    assert not np.array_equal(drawn[0].prompt_tokens, drawn[2].prompt_tokens)


def test_a_trace_is_cut_then_stretched(tmp_path: Path) -> None:
    rows = "".join(f"{second},{10 + second},5\n" for second in range(10))
    (tmp_path / "t.csv").write_text("arrival_s,input_tokens,output_tokens\n" + rows)
    text = with_traffic("trace: t.csv, requests: 5, rate: 4/s")
    replayed = workload(loads(text, folder=tmp_path))
    assert replayed.prompt_tokens.tolist() == [10, 11, 12, 13, 14]
    assert replayed.rate_per_s == 4.0
    closed = workload(loads(with_traffic("trace: t.csv, concurrency: 2"), folder=tmp_path))
    assert (len(closed), closed.concurrency) == (10, 2)


def test_a_published_trace_keeps_its_attribution(data_dir: Path) -> None:
    text = with_traffic("trace: azure2023_conv.csv.gz, requests: 100, rate: 12/s")
    replayed = workload(loads(text, folder=data_dir / "traces"))
    assert replayed.rate_per_s == pytest.approx(12.0)
    assert "Azure" in replayed.attribution
