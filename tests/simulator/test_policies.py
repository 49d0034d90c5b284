"""Which scheduler stands for which engine, and what it is not asked to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import TransformersPolicy
from servecast.simulator.simulate import simulate
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.emitted_cases import DEPLOYMENT

MS = 1_000_000
OURS = replace(
    DEPLOYMENT,
    engine="transformers",
    engine_version="5.23",
    tensor_parallel_size=1,
    max_model_len=4096,
    max_num_seqs=8,
    max_num_batched_tokens=64,
    block_size=16,
    num_gpu_blocks_override=40,
    policy=TransformersPolicy(),
)


def traffic(*lengths: tuple[int, int]) -> Workload:
    prompts, outputs = np.array(lengths, dtype=np.int64).T
    arrival_ns = np.arange(len(lengths), dtype=np.int64) * MS // 2
    return Workload("made up", arrival_ns, prompts, outputs, outputs)


def first_ms(deployment: Deployment) -> list[int]:
    workload = traffic((32, 4), (160, 4))
    result = simulate(deployment, workload, cost=ConstantStepCost(MS))
    return [int(ns) // MS for ns in result.records.first_token_ns]


def test_the_scenarios_scheduler_is_the_one_that_runs() -> None:
    """`fifo` decodes beside the second prompt; `prefill_first` lets that prompt have all."""
    last = {
        kind: int(
            simulate(
                replace(OURS, policy=TransformersPolicy(kind)),
                traffic((32, 8), (180, 4)),
                cost=ConstantStepCost(MS),
            ).records.finish_ns[0]
        )
        for kind in ("fifo", "prefill_first")
    }
    assert last["fifo"] == 8 * MS
    assert last["prefill_first"] > last["fifo"]


def test_the_safety_margin_is_the_deployments() -> None:
    """With 30 of 40 blocks free, a second prompt waits where nine tenths have to be."""
    careful = replace(OURS, policy=TransformersPolicy("fifo", 0.99))
    assert first_ms(OURS)[1] < first_ms(careful)[1]


def test_a_request_longer_than_the_cache_is_refused_before_the_run() -> None:
    with pytest.raises(InputError, match=r"has 700 tokens, and .* holds 640") as told:
        simulate(OURS, traffic((600, 100)), cost=ConstantStepCost(MS))
    assert "num_blocks" in str(told.value.hint)


def test_prompts_that_begin_alike_are_refused_while_blocks_are_shared() -> None:
    alike = replace(traffic((32, 4), (32, 4)), prefixes=prefixes(16, [range(2)] * 2))
    sharing = replace(OURS, enable_prefix_caching=True)
    with pytest.raises(UnsupportedError, match="block sharing") as told:
        simulate(sharing, alike, cost=ConstantStepCost(MS))
    assert "servecast emulate" in str(told.value.hint)
    alone = replace(OURS, enable_prefix_caching=False)
    assert len(simulate(alone, alike, cost=ConstantStepCost(MS)).records) == 2


def test_an_engine_without_a_scheduler_here_is_refused_with_the_next_command() -> None:
    other = replace(OURS, engine="trtllm", policy=None)
    with pytest.raises(UnsupportedError, match="engine `trtllm` is not simulated") as told:
        simulate(other, traffic((8, 2)), cost=ConstantStepCost(MS))
    assert "servecast emulate" in str(told.value.hint)
