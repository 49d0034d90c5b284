"""The engines of a deployment's replicas: those that skip or, where none can, those that step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions

Engines = Sequence[Engine] | Sequence[SteppedEngine]


def takes_every_step(deployment: Deployment) -> bool:
    """Whether no run of a deployment's steps is priced at once: vLLM's with several batches under
    way, with drafts, by priority, or with a limit on long prompts."""
    return deployment.engine == "vllm" and bool(
        deployment.pipeline_parallel_size > 1
        or deployment.drafting is not None
        or deployment.scheduling_policy != "fcfs"
        or deployment.long_prefill_token_threshold
    )


def engines_of(
    deployment: Deployment,
    limits: SchedulerLimits,
    stages: Sequence[StepCost],
    policy: Callable[[SchedulerLimits], Scheduler],
    *,
    schedules_ahead: bool,
) -> Engines:
    """One engine a replica; `stages` are what a step costs in each stage of its pipeline."""
    numbers = range(deployment.replicas)
    if limits.groups or takes_every_step(deployment):
        options = SteppedOptions.of(deployment)
        return [SteppedEngine(limits, stages, number, options=options) for number in numbers]
    (cost,) = stages
    if deployment.async_scheduling:
        return [AsyncEngine(limits, cost, number) for number in numbers]
    return [
        _engine(limits, cost, number, policy, schedules_ahead=schedules_ahead) for number in numbers
    ]


def _engine(
    limits: SchedulerLimits,
    cost: StepCost,
    replica: int,
    policy: Callable[[SchedulerLimits], Scheduler],
    *,
    schedules_ahead: bool,
) -> Engine:
    """One replica, of the kind that goes with its scheduler."""
    scheduler = policy(limits)
    if isinstance(scheduler, SglangOverlapScheduler):
        return OverlapEngine(scheduler, cost, replica)
    return Engine(
        limits, cost, replica, policy=lambda _: scheduler, schedules_ahead=schedules_ahead
    )


def peak_blocks(engines: Engines) -> int:
    """The most KV blocks that requests of one replica held."""
    return max(
        engine.blocks.peak_used
        if isinstance(engine, SteppedEngine)
        else engine.scheduler.blocks.peak_used
        for engine in engines
    )
