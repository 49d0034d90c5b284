"""The estimate rung against the simulation, and laws that a closed form must keep."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives import catalogue
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.search.estimate import Estimate
from servecast.search.traffic import Traffic
from servecast.simulator.simulate import simulate
from servecast.traces.reshape import closed_loop, rescale
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload
from tests.search_cases import BASE, candidate, evaluator, workload


def deployed(model: str, gpu: str, ranks: int, seqs: int, tokens: int) -> Deployment:
    spec = catalogue.model(model)
    return Deployment(
        model=spec,
        accelerator=catalogue.accelerator(gpu),
        engine="vllm",
        engine_version="0.32",
        weights_dtype=spec.weights_dtype,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=16384,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        tensor_parallel_size=ranks,
    )


DEPLOYMENTS = {
    "8B": deployed("meta-llama/Llama-3.1-8B", "h100_sxm", 1, 64, 2048),
    "8B, wide": deployed("meta-llama/Llama-3.1-8B", "h100_sxm", 1, 256, 8192),
    "70B": deployed("meta-llama/Llama-3.1-70B", "h100_sxm", 4, 256, 2048),
    "70B, wide": deployed("meta-llama/Llama-3.1-70B", "h100_sxm", 8, 512, 8192),
    "30B of experts": deployed("Qwen/Qwen3-30B-A3B", "h100_sxm", 2, 256, 4096),
    "Mixtral": deployed("mistralai/Mixtral-8x7B-v0.1", "h200_sxm", 2, 128, 4096),
}


def estimated(deployment: Deployment, traffic: Workload, replicas: int = 1) -> Estimate:
    return evaluator(traffic).estimate([candidate(deployment, gpus=64)], [replicas])


def at_utilisation(deployment: Deployment, traffic: Workload, utilisation: float) -> Workload:
    """The same requests at the rate that loads one replica so far, by the estimate itself."""
    load = float(estimated(deployment, traffic).utilisation[0])
    return rescale(traffic, traffic.rate_per_s * utilisation / load)


@pytest.mark.parametrize(
    ("utilisation", "tpot_error", "ttft_error"),
    [(0.3, 0.10, 0.35), (0.7, 0.10, 0.35), (0.79, 0.15, 0.40)],
)
@pytest.mark.parametrize("shape", ["chat", "reasoning", "summarization"])
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_latencies_below_saturation_are_near_the_simulated(
    name: str, shape: str, utilisation: float, tpot_error: float, ttft_error: float
) -> None:
    deployment = DEPLOYMENTS[name]
    requests = 2500 if shape == "reasoning" else 1200  # long answers take long to fill the batch
    traffic = synthesize(shape, requests, rate_per_s=1.0, seed=1)
    traffic = at_utilisation(deployment, traffic, utilisation)
    found, seen = estimated(deployment, traffic), simulate(deployment, traffic)
    assert found.tpot_mean[0] == pytest.approx(seen.tpot.mean, rel=tpot_error)
    assert found.ttft_mean[0] == pytest.approx(seen.ttft.mean, rel=ttft_error)
    assert not seen.is_overloaded


@pytest.mark.parametrize("name", ["8B", "70B", "Mixtral"])
def test_what_the_estimate_calls_hopeless_the_simulation_calls_overloaded(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    traffic = synthesize("chat", 1500, rate_per_s=1.0, seed=2)
    for load, is_overload in ((0.7, False), (1.5, True)):
        offered = at_utilisation(deployment, traffic, load)
        found = estimated(deployment, offered)
        assert found.utilisation[0] == pytest.approx(load, rel=1e-3)
        assert np.isinf(found.ttft_mean[0]) == is_overload
        assert simulate(deployment, offered).is_overloaded == is_overload


def test_an_overloaded_deployment_serves_what_it_can() -> None:
    deployment = DEPLOYMENTS["8B"]
    traffic = synthesize("chat", 1500, rate_per_s=1.0, seed=2)
    offered = at_utilisation(deployment, traffic, 2.0)
    found = estimated(deployment, offered)
    assert found.request_rate[0] == pytest.approx(offered.rate_per_s / 2, rel=1e-3)
    seen = simulate(deployment, offered)
    assert found.output_rate[0] == pytest.approx(seen.throughput, rel=0.15)


def test_more_traffic_is_never_faster() -> None:
    traffic = workload(requests=400)
    found = [estimated(BASE, rescale(traffic, rate)) for rate in (0.5, 1, 2, 4, 6, 8, 10, 20)]
    for name in ("utilisation", "ttft_mean", "tpot_mean", "tpot_p95", "request_rate"):
        values = [float(getattr(one, name)[0]) for one in found]
        assert all(a <= b * (1 + 1e-9) for a, b in pairwise(values)), name


def test_more_replicas_are_never_slower() -> None:
    traffic = workload(requests=400, rate=20)
    found = [estimated(BASE, traffic, replicas) for replicas in range(1, 9)]
    for name in ("utilisation", "ttft_mean", "tpot_mean", "tpot_p95"):
        values = [float(getattr(one, name)[0]) for one in found]
        assert all(a >= b * (1 - 1e-9) for a, b in pairwise(values)), name
    rates = [float(one.request_rate[0]) for one in found]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(rates))


def test_one_sequence_at_a_time_waits_without_being_overloaded() -> None:
    alone = replace(BASE, max_num_seqs=1)
    traffic = at_utilisation(alone, workload(requests=600), 0.3)
    found = estimated(alone, traffic)
    assert np.isfinite(found.ttft_mean[0])
    assert found.ttft_mean[0] > found.ttft_floor[0]


def test_a_closed_loop_keeps_its_clients_busy() -> None:
    deployment = DEPLOYMENTS["8B"]
    traffic = synthesize("chat", 800, concurrency=16, seed=3)
    found, seen = estimated(deployment, traffic), simulate(deployment, traffic)
    assert found.tpot_mean[0] == pytest.approx(seen.tpot.mean, rel=0.10)
    assert found.output_rate[0] == pytest.approx(seen.throughput, rel=0.10)
    assert found.utilisation[0] == pytest.approx(16 / 64)


def test_clients_beyond_the_sequences_wait_in_a_closed_loop() -> None:
    deployment = replace(DEPLOYMENTS["8B"], max_num_seqs=8)
    traffic = synthesize("chat", 800, concurrency=32, seed=3)
    found, seen = estimated(deployment, traffic), simulate(deployment, traffic)
    assert found.utilisation[0] == pytest.approx(4)
    assert found.ttft_mean[0] == pytest.approx(seen.ttft.mean, rel=0.15)


def test_a_single_client_sees_the_floor() -> None:
    traffic = closed_loop(workload(requests=60), 1)
    found = estimated(BASE, traffic)
    assert found.tpot_mean[0] < 1.3 * found.tpot_floor[0]


def test_no_deployment_is_faster_than_its_floor() -> None:
    traffic = synthesize("chat", 600, rate_per_s=0.2, seed=4)
    for deployment in DEPLOYMENTS.values():
        found, seen = estimated(deployment, traffic), simulate(deployment, traffic)
        assert found.ttft_floor[0] * 0.8 < seen.ttft.p95
        assert found.tpot_floor[0] * 0.8 < seen.tpot.mean


def test_pricing_all_at_once_is_pricing_them_one_by_one() -> None:
    traffic = workload(rate=10)
    asked = evaluator(traffic)
    variants = [
        replace(BASE, max_num_seqs=seqs, max_num_batched_tokens=tokens, tensor_parallel_size=ranks)
        for seqs in (4, 64)
        for tokens in (128, 512)
        for ranks in (1, 2)
    ]
    all_ = [candidate(one) for one in variants]
    replicas = [1 + index % 2 for index in range(len(all_))]
    together = asked.estimate(all_, replicas)
    for row, (one, count) in enumerate(zip(all_, replicas, strict=True)):
        alone = asked.estimate([one], [count])
        for name in Estimate.__slots__:
            assert getattr(alone, name)[0] == pytest.approx(getattr(together, name)[row], rel=0.03)


def test_longer_answers_weigh_more_in_the_context_that_a_step_reads() -> None:
    ones = np.ones(2, dtype=np.int64)
    pair = Workload("pair", ones * 0, ones * 100, np.array([10, 1000]), ones * 1000)
    found = Traffic.of(pair, 4096)
    assert found.context_mean == pytest.approx((10 * 105 + 1000 * 600) / 1010)


def test_prompts_beyond_the_model_length_are_left_out() -> None:
    traffic = workload(requests=100)
    cut = Traffic.of(traffic, 300)
    assert cut.prompts.max() < 300
    assert Traffic.of(traffic, 4096).prompts.max() > 500


def test_a_length_that_no_prompt_fits_is_told() -> None:
    with pytest.raises(InputError, match="every prompt") as told:
        Traffic.of(workload(), 40)
    assert "max_model_len" in str(told.value.hint)
