"""Law 15 for the other schedulers: skipping equals stepping, with overlap scheduling or without.

Prompts first (decodes stand still), whole prompts, prompts held back, and arrivals that a step
scheduled ahead does not see; every gap between two tokens is accounted for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.host_time import HostTime
from servecast.primitives.policy import SglangSchedulePolicy
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from servecast.simulator.transformers_scheduler import TransformersScheduler
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import BatchWait, TrtllmScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.driver import Arrival, records_of
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import BLOCK_SIZE, GAPS_NS, Case, Drawn

OVERLAPPED = HostTime(1e-4, 1e-6, overlapped_step_s=4e-3, overlapped_sequence_s=1e-5)
COSTS = {
    "host after device": CompiledStepCost(DENSE, RooflineSource()),
    "host beside device": CompiledStepCost(WINDOWED, RooflineSource(), OVERLAPPED),
}


def _retracting(
    limits: SchedulerLimits,
    schedule_policy: SglangSchedulePolicy = "fcfs",
    conservativeness: float = 1.0,
) -> Scheduler:
    """SGLang's own policy, which admits nobody who would leave less than a page of the pool."""
    budget = -(-limits.max_num_batched_tokens // BLOCK_SIZE) * BLOCK_SIZE
    room = replace(limits, num_blocks=limits.num_blocks + 2, max_num_batched_tokens=budget)
    return SglangEngineScheduler(room, schedule_policy, conservativeness)


def _cutting(limits: SchedulerLimits) -> Scheduler:
    """TensorRT-LLM that pauses, and whose steps hold little more than their decodes."""
    budget = limits.max_num_seqs + 2 * BLOCK_SIZE
    small = replace(limits, max_num_batched_tokens=budget)
    return TrtllmPausingScheduler(small, chunked_context=True)


POLICIES: dict[str, Callable[[SchedulerLimits], Scheduler]] = {
    "vllm": VllmScheduler,
    "vllm with a prefix cache": VllmScheduler,
    "sglang that retracts": _retracting,
    "sglang, longest output first": partial(_retracting, schedule_policy="lof"),
    "sglang that expects little": partial(_retracting, conservativeness=0.05),
    "transformers fifo": TransformersScheduler,
    "transformers prefill_first": partial(TransformersScheduler, scheduler_type="prefill_first"),
    "transformers with block sharing": TransformersScheduler,
    "trtllm": TrtllmScheduler,
    "trtllm that waits": partial(TrtllmScheduler, batch_wait=BatchWait(0.5, 7)),
    "trtllm that waits for two": partial(TrtllmScheduler, batch_wait=BatchWait(1.0, 9, 2)),
    "trtllm that pauses": TrtllmPausingScheduler,
    "trtllm that pauses and cuts": _cutting,
}

CACHING = ("vllm with a prefix cache", "transformers with block sharing")


@st.composite
def whole_prompt_cases(draw: st.DrawFn) -> Case:
    """Budgets that hold the longest prompt beside all decodes; caches from cramped to ample."""
    max_model_len, max_num_seqs = 128, draw(st.integers(1, 12))
    blocks = max_model_len // BLOCK_SIZE + draw(st.integers(0, 24))
    budget = max_model_len + max_num_seqs + draw(st.integers(0, 300))
    arrivals: list[Arrival] = []
    now_ns = 0
    for index in range(draw(st.integers(1, 24))):
        now_ns += draw(GAPS_NS)
        prompt_tokens = draw(st.integers(1, max_model_len - 1))
        output_tokens = draw(st.integers(1, max_model_len - prompt_tokens))
        arrivals.append(Arrival(index, now_ns, prompt_tokens, output_tokens))
    limits = SchedulerLimits(max_num_seqs, budget, max_model_len, blocks, BLOCK_SIZE)
    return Case(limits, tuple(arrivals))


def served(case: Case, cost: CompiledStepCost, policy: str, *, ahead: bool, step: bool) -> Engine:
    engine = Engine(
        case.limits, cost, policy=POLICIES[policy], schedules_ahead=ahead, stepping=step
    )
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    return engine


def gaps_of(engine: Engine, cost: CompiledStepCost) -> dict[int, int]:
    pool: dict[int, int] = {}
    for wait, count in zip(*engine.log.inter_token_ns(cost.decode_run), strict=True):
        pool[int(wait)] = pool.get(int(wait), 0) + int(count)
    assert min(pool.values(), default=0) >= 0
    return {wait: count for wait, count in pool.items() if count}


@pytest.mark.parametrize("ahead", [False, True], ids=["between steps", "ahead"])
@pytest.mark.parametrize("host", COSTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_skipping_equals_stepping(policy: str, host: str, ahead: bool, drawn: Drawn) -> None:
    cost, runs, steps = COSTS[host], 0, 0

    @drawn(60)
    @given(whole_prompt_cases())
    def both_agree(case: Case) -> None:
        nonlocal runs, steps
        if policy in CACHING:
            case = replace(case, limits=replace(case.limits, enable_prefix_caching=True))
        skipping = served(case, cost, policy, ahead=ahead, step=False)
        stepping = served(case, cost, policy, ahead=ahead, step=True)
        fast, slow = records_of(skipping), records_of(stepping)
        for name in ("scheduled_ns", "first_token_ns", "finish_ns"):
            assert getattr(fast, name).tolist() == getattr(slow, name).tolist()
        pooled = gaps_of(skipping, cost)
        assert pooled == gaps_of(stepping, cost)
        assert sum(pooled.values()) == int((fast.output_tokens - 1).sum())
        waited = sum(wait * count for wait, count in pooled.items())
        assert waited == int(np.sum(fast.finish_ns - fast.first_token_ns))
        runs += len(skipping.log)
        steps += len(stepping.log)

    both_agree()
    assert runs < steps / 2, "hardly any step was skipped"
