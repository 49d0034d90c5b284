"""Law 15 for SGLang's own policies with its radix cache, prompts beginning alike.

Pools are cramped and clients trusted little, so ends of the tree are evicted in the middle of runs,
and requests are taken back.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from servecast.simulator.waiting_order import SchedulePolicy
from tests.driver import records_of
from tests.toy_deployments import DENSE
from tests.workload_cases import BLOCK_SIZE, Case, cases

COST = CompiledStepCost(DENSE, RooflineSource())
COLUMNS = ("scheduled_ns", "first_token_ns", "finish_ns", "cached_tokens", "preemptions")


def served(case: Case, policy: SchedulePolicy, *, step: bool) -> Engine:
    budget = -(-case.limits.max_num_batched_tokens // BLOCK_SIZE) * BLOCK_SIZE
    limits = replace(
        case.limits, num_blocks=case.limits.num_blocks + 2, max_num_batched_tokens=budget
    )

    def scheduler(given_limits: SchedulerLimits) -> Scheduler:
        return SglangEngineScheduler(given_limits, policy, conservativeness=0.1)

    engine = Engine(limits, COST, policy=scheduler, stepping=step)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
        engine.check()
    engine.advance(None)
    engine.check()
    return engine


@pytest.mark.parametrize("policy", ["fcfs", "lof", "lpm"])
def test_skipping_equals_stepping(policy: SchedulePolicy) -> None:
    runs, steps, cached, retractions = 0, 0, 0, 0

    @settings(max_examples=80, derandomize=True, deadline=None, print_blob=True)
    @given(cases(prefixes=True))
    def both_agree(case: Case) -> None:
        nonlocal runs, steps, cached, retractions
        skipping = served(case, policy, step=False)
        stepping = served(case, policy, step=True)
        fast, slow = records_of(skipping), records_of(stepping)
        for name in COLUMNS:
            assert getattr(fast, name).tolist() == getattr(slow, name).tolist()
        assert skipping.scheduler.blocks.free == skipping.scheduler.blocks.total
        runs += len(skipping.log)
        steps += len(stepping.log)
        cached += int(fast.cached_tokens.sum())
        retractions += int(fast.preemptions.sum())

    both_agree()
    assert runs < steps / 2, "hardly any step was skipped"
    assert cached, "nobody found anything"
    assert retractions, "nobody was retracted"
