"""Which scheduler stands for which engine, and what it is not asked to do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment, EngineName
from servecast.primitives.policy import (
    Policy,
    ReferencePolicy,
    TransformersPolicy,
    TrtllmPolicy,
)
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.policies import policy_of
from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.simulate import simulate
from servecast.simulator.static_scheduler import StaticScheduler
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
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


def test_prompts_that_begin_alike_share_blocks_where_that_is_allowed() -> None:
    """The second prompt comes when the first is there, and computes its last token alone."""
    alike = replace(traffic((33, 4), (33, 4)), prefixes=prefixes(16, [range(2)] * 2))
    alike = replace(alike, arrival_ns=np.array([0, 2 * MS]))
    sharing = replace(OURS, enable_prefix_caching=True)
    found = simulate(sharing, alike, cost=ConstantStepCost(MS)).records.cached_tokens
    assert found.tolist() == [0, 32]
    alone = simulate(OURS, alike, cost=ConstantStepCost(MS)).records.cached_tokens
    assert alone.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("engine", "policy", "scheduler"),
    [
        ("trtllm", None, TrtllmScheduler),
        ("trtllm", TrtllmPolicy("MAX_UTILIZATION"), TrtllmPausingScheduler),
        ("reference", None, OrcaScheduler),
        ("reference", ReferencePolicy("static"), StaticScheduler),
        ("reference", ReferencePolicy("sarathi"), SarathiScheduler),
    ],
)
def test_each_choice_has_its_scheduler(
    engine: EngineName, policy: Policy | None, scheduler: type[Scheduler]
) -> None:
    made = policy_of(replace(OURS, engine=engine, policy=policy))(SchedulerLimits(8, 64, 640, 40))
    assert type(made) is scheduler


def test_tensorrt_llm_cuts_prompts_and_overlaps_where_it_is_told_to() -> None:
    """A prompt above `max_num_tokens` is refused whole; who comes during a step misses one more."""
    whole = replace(OURS, engine="trtllm", policy=TrtllmPolicy(disable_overlap_scheduler=True))
    with pytest.raises(InputError, match="160 tokens exceeds max_num_tokens 64"):
        first_ms(whole)
    first: dict[bool, int] = {}
    for between in (True, False):
        cut = replace(whole, policy=TrtllmPolicy("GUARANTEED_NO_EVICT", True, between))
        ran = simulate(cut, traffic((32, 20), (160, 4)), cost=ConstantStepCost(MS))
        first[between] = int(ran.records.first_token_ns[1]) // MS
    assert first == {True: 5, False: 6}
