"""Law 15 for transformers' block sharing: skipping equals stepping where prompts begin alike."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given

from servecast.primitives.policy import TransformersSchedulerType
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.transformers_scheduler import TransformersScheduler
from tests.driver import records_of
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, Drawn, cases

COST = CompiledStepCost(DENSE, RooflineSource())


def served(case: Case, scheduler_type: TransformersSchedulerType, *, step: bool) -> Engine:
    policy = partial(TransformersScheduler, scheduler_type=scheduler_type, safety_margin=0.2)
    engine = Engine(case.limits, COST, policy=policy, stepping=step)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    return engine


@pytest.mark.parametrize("scheduler_type", ["fifo", "prefill_first"])
def test_what_is_found_and_when_it_ends_is_the_same(
    scheduler_type: TransformersSchedulerType, drawn: Drawn
) -> None:
    found = runs = steps = 0

    @drawn(150)
    @given(cases(prefixes=True))
    def both_agree(case: Case) -> None:
        nonlocal found, runs, steps
        skipping = served(case, scheduler_type, step=False)
        stepping = served(case, scheduler_type, step=True)
        fast, slow = records_of(skipping), records_of(stepping)
        for name in ("scheduled_ns", "first_token_ns", "finish_ns", "cached_tokens", "preemptions"):
            assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
        assert skipping.scheduler.blocks.free == stepping.scheduler.blocks.free
        found += int(fast.cached_tokens.sum())
        runs += len(skipping.log)
        steps += len(stepping.log)

    both_agree()
    assert found > 1000
    assert runs < steps / 2
