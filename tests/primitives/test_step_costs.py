"""Compiled step costs: shared where a step costs the same, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy, TrtllmPolicy
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.step_costs import StepCosts
from tests.toy_deployments import DENSE as BASE

DECODES = Batch((Group(1, 32, 32_000, 0, True),))
SGLANG = replace(BASE, engine="sglang", policy=SglangPolicy())
TRTLLM = replace(BASE, engine="trtllm", policy=TrtllmPolicy())


def test_the_limits_of_the_scheduler_share_a_cost() -> None:
    larger = replace(BASE, max_num_seqs=2 * BASE.max_num_seqs)
    costs = StepCosts(RooflineSource(), [BASE, larger])
    assert costs.of(BASE) is costs.of(larger)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE, replace(BASE, async_scheduling=True)),
        (SGLANG, replace(SGLANG, policy=SglangPolicy(disable_overlap_schedule=True))),
        (TRTLLM, replace(TRTLLM, policy=TrtllmPolicy(disable_overlap_scheduler=True))),
    ],
)
def test_what_schedules_ahead_costs_less_beside_what_does_not(
    one: Deployment, other: Deployment
) -> None:
    costs = StepCosts(RooflineSource(), [one, other])
    for deployment in (one, other):
        alone = CompiledStepCost(deployment, RooflineSource())
        assert costs.of(deployment).step(DECODES) == alone.step(DECODES)
    assert costs.of(one).step(DECODES) != costs.of(other).step(DECODES)
