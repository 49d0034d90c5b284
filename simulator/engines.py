"""The engine of a deployment's replica: one that skips or, where none can, one that steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions


def takes_every_step(deployment: Deployment) -> bool:
    """Whether no run of a deployment's steps is priced at once: vLLM's with several batches under
    way, with drafts, by priority, or with a limit on long prompts."""
    return deployment.engine == "vllm" and bool(
        deployment.pipeline_parallel_size > 1
        or deployment.drafting is not None
        or deployment.scheduling_policy != "fcfs"
        or deployment.long_prefill_token_threshold
    )


def engine_of(
    deployment: Deployment,
    limits: SchedulerLimits,
    stages: Sequence[StepCost],
    policy: Callable[[SchedulerLimits], Scheduler],
    number: int = 0,
    *,
    schedules_ahead: bool,
) -> AnyEngine:
    """A replica, of the kind that goes with its deployment; `stages` are what a step costs in each
    stage of its pipeline.

    InputError where that is another number of stages than the deployment's.
    """
    if len(stages) != deployment.pipeline_parallel_size:
        raise InputError(
            f"pipeline_parallel_size is {deployment.pipeline_parallel_size}, and {len(stages)} of "
            "its stages have a step cost",
            hint="give the cost of each stage, or leave `cost` out to have them compiled",
        )
    if limits.groups or takes_every_step(deployment):
        return SteppedEngine(limits, stages, number, options=SteppedOptions.of(deployment))
    (cost,) = stages
    if deployment.async_scheduling:
        return AsyncEngine(limits, cost, number)
    return _engine(limits, cost, number, policy, schedules_ahead=schedules_ahead)


def _engine(
    limits: SchedulerLimits,
    cost: StepCost,
    replica: int,
    policy: Callable[[SchedulerLimits], Scheduler],
    *,
    schedules_ahead: bool,
) -> Engine:
    """One that skips, of the kind that goes with its scheduler."""
    scheduler = policy(limits)
    if isinstance(scheduler, SglangOverlapScheduler):
        return OverlapEngine(scheduler, cost, replica)
    return Engine(
        limits, cost, replica, policy=lambda _: scheduler, schedules_ahead=schedules_ahead
    )
