"""Which engine stands for a deployment: one that skips wherever it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.speculation import Speculation
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.engines import engine_of, takes_every_step
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import simulate
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.constant_cost import ConstantStepCost
from tests.search_cases import workload
from tests.toy_deployments import DENSE

NGRAM = Speculation("ngram", 2, (0.6, 0.4))
LIMITS = SchedulerLimits(8, 64, 256, 40)


def kind(deployment: Deployment) -> type:
    cost = ConstantStepCost(1_000_000)
    stages = [cost] * deployment.pipeline_parallel_size
    return type(engine_of(deployment, LIMITS, stages, VllmScheduler, schedules_ahead=False))


def test_plain_engines_skip() -> None:
    assert kind(DENSE) is Engine
    assert kind(replace(DENSE, async_scheduling=True)) is AsyncEngine


@pytest.mark.parametrize(
    "deployment",
    [
        replace(DENSE, pipeline_parallel_size=2),
        replace(DENSE, speculation=NGRAM),
        replace(DENSE, scheduling_policy="priority"),
        replace(DENSE, long_prefill_token_threshold=64),
    ],
    ids=["stages", "drafts", "priority", "long prompts"],
)
def test_what_cannot_be_skipped_is_stepped_through(deployment: Deployment) -> None:
    assert takes_every_step(deployment)
    assert kind(deployment) is SteppedEngine


def test_no_drafts_is_no_speculation() -> None:
    assert not takes_every_step(replace(DENSE, speculation=Speculation("ngram", 0, ())))


def test_each_stage_has_a_cost_of_its_own() -> None:
    two = replace(DENSE, pipeline_parallel_size=2)
    with pytest.raises(InputError, match="pipeline_parallel_size is 2"):
        simulate(two, workload(requests=1), cost=ConstantStepCost(1_000_000))


def test_more_stages_serve_a_crowd_faster_and_a_lone_request_no_faster() -> None:
    two = replace(DENSE, pipeline_parallel_size=2)
    crowd, lone = workload(requests=60, rate=1000.0), workload(requests=1)
    assert simulate(two, crowd).duration_s < simulate(DENSE, crowd).duration_s
    assert simulate(two, lone).duration_s > simulate(DENSE, lone).duration_s
