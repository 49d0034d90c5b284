"""What a recommendation is measured against, and by how much it is better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.policy import SglangPolicy
from servecast.search.baseline import (
    default_candidate,
    evaluate_default,
    fixed_candidate,
    gain,
)
from servecast.search.engine_defaults import defaults
from servecast.search.sglang_defaults import chunked_prefill_size
from tests.search_cases import BASE, answer, evaluator, objectives, workload
from tests.toy_deployments import DEVICE

KNOWN = replace(BASE, accelerator=replace(DEVICE, name="h100_toy", vendor="NVIDIA"))
DEFAULTS = defaults("vllm", "0.32", KNOWN.accelerator)
(COST,) = objectives("cost")
(RATE,) = objectives("throughput")


def test_the_defaults_are_the_engines_own_on_the_fewest_ranks() -> None:
    found = default_candidate(replace(KNOWN, tensor_parallel_size=4, max_num_seqs=3), gpus=8)
    assert found is not None
    assert found.deployment.tensor_parallel_size == 1
    assert found.deployment.max_num_seqs == DEFAULTS.max_num_seqs
    assert found.deployment.max_num_batched_tokens == DEFAULTS.max_num_batched_tokens
    assert found.deployment.gpu_memory_utilization == DEFAULTS.gpu_memory_utilization
    assert found.max_replicas == 8


def test_the_defaults_limit_no_long_prompts() -> None:
    found = default_candidate(replace(KNOWN, long_prefill_token_threshold=256), gpus=1)
    assert found is not None
    assert found.deployment.long_prefill_token_threshold == 0


def test_a_model_too_large_for_one_gpu_takes_more_ranks() -> None:
    small = replace(KNOWN.accelerator, memory_bytes=4 * 2**30)
    found = default_candidate(replace(KNOWN, accelerator=small), gpus=8)
    assert found is not None
    assert found.deployment.tensor_parallel_size > 1


def test_the_defaults_of_a_model_that_fits_nowhere_are_none() -> None:
    tiny = replace(KNOWN.accelerator, memory_bytes=2**28)
    assert default_candidate(replace(KNOWN, accelerator=tiny), gpus=8) is None


def test_the_defaults_on_an_unknown_device_are_none() -> None:
    assert default_candidate(BASE, gpus=8) is None
    assert evaluate_default(evaluator(workload()), BASE, gpus=8) is None


def test_the_defaults_are_judged_at_the_fewest_replicas_that_meet_the_slos() -> None:
    asked = evaluator(workload(requests=200, rate=2), "ttft:p95 < 2s")
    found = evaluate_default(asked, KNOWN, gpus=8)
    assert found is not None
    assert found.name == "vllm defaults"
    assert found.answer.is_feasible
    assert found.answer.deployment.replicas == 1


def test_sglang_left_alone_is_as_it_would_start_on_the_fewest_ranks() -> None:
    like = replace(KNOWN, engine="sglang", engine_version="0.5.23", num_gpu_blocks_override=10)
    found = default_candidate(like, gpus=2)
    assert found is not None
    alone = found.deployment
    assert (alone.replicas, alone.tensor_parallel_size, alone.block_size) == (1, 1, 1)
    assert alone.max_num_batched_tokens == chunked_prefill_size(KNOWN.accelerator)
    assert alone.num_gpu_blocks_override == found.memory.num_gpu_blocks > 10
    assert alone.policy == SglangPolicy()


def test_a_deployment_of_the_users_own_is_a_candidate_if_it_starts() -> None:
    found = fixed_candidate(replace(BASE, replicas=2), gpus=4)
    assert found is not None
    assert found.max_replicas == 4
    for broken in (
        replace(BASE, gpu_memory_utilization=0.01),
        replace(BASE, tensor_parallel_size=3),
        replace(BASE, engine="sglang"),
    ):
        assert fixed_candidate(broken, gpus=4) is None


@pytest.mark.parametrize(("mine", "theirs", "expected"), [(2.0, 5.0, 2.5), (5.0, 2.0, 0.4)])
def test_a_gain_is_how_many_times_cheaper(mine: float, theirs: float, expected: float) -> None:
    assert gain(answer(mine), answer(theirs), COST) == pytest.approx(expected)


def test_a_gain_is_how_many_times_more_where_more_is_better() -> None:
    assert gain(answer(300.0), answer(100.0), RATE) == pytest.approx(3)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(1.0, 0.0), (0.0, 1.0), (1.0, float("inf")), (1.0, float("nan")), (float("nan"), 1.0)],
)
def test_a_gain_over_nothing_is_not_stated(mine: float, theirs: float) -> None:
    assert gain(answer(mine), answer(theirs), COST) is None
