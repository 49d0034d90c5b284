"""The engine of a deployment's replica: one that skips or, where none can, one that steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.step_cost import StepCost
from servecast.primitives.wave_cost import WaveCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.engine import Engine
from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_drafting_engine import SglangDraftingEngine
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.tiered_engine import tiered_engine
from servecast.simulator.wave_engine import WaveEngine


def takes_every_step(deployment: Deployment) -> bool:
    """Whether no run of a deployment's steps is priced at once: vLLM's with several batches under
    way, with drafts, by priority, with a limit on long prompts, or of data-parallel ranks."""
    return deployment.engine == "vllm" and bool(
        deployment.pipeline_parallel_size > 1
        or deployment.data_parallel_size > 1
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
    wave: WaveCost | None = None,
) -> AnyEngine:
    """A replica, of the kind that goes with its deployment; `stages` are what a step costs in each
    stage of its pipeline, `wave` what one costs data-parallel ranks.

    InputError where that is another number of stages than the deployment's.
    """
    if len(stages) != deployment.pipeline_parallel_size:
        raise InputError(
            f"pipeline_parallel_size is {deployment.pipeline_parallel_size}, and {len(stages)} of "
            "its stages have a step cost",
            hint="give the cost of each stage, or leave `cost` out to have them compiled",
        )
    if wave is not None:
        options, ranks = SteppedOptions.of(deployment), deployment.data_parallel_size
        return WaveEngine(limits, wave, ranks, number, options=options)
    if limits.groups or takes_every_step(deployment):
        return SteppedEngine(limits, stages, number, options=SteppedOptions.of(deployment))
    if deployment.engine == "sglang" and deployment.drafting is not None:
        own = deployment.policy
        own = own if isinstance(own, SglangPolicy) else SglangPolicy()
        return SglangDraftingEngine(limits, stages, deployment.drafting, own, number)
    (cost,) = stages
    if limits.host is not None:
        return tiered_engine(limits, cost, limits.host, number, loads=deployment.kv_loads)
    if deployment.async_scheduling:
        return AsyncEngine(limits, cost, number)
    return _engine(limits, cost, number, policy, schedules_ahead=schedules_ahead)


def connected_engine_of(
    deployment: Deployment, limits: SchedulerLimits, stages: Sequence[StepCost], number: int = 0
) -> ConnectedEngine:
    """A replica whose KV caches come from other replicas, or go there.

    UnsupportedError for all but vLLM where it skips, without asynchronous scheduling.
    """
    takes_all = bool(limits.groups) or takes_every_step(deployment)
    takes_all = takes_all or limits.host is not None
    if deployment.engine != "vllm" or deployment.async_scheduling or takes_all:
        raise UnsupportedError(
            "pools that prefill or decode are simulated for vLLM without async_scheduling, "
            "kv_offloading_size, pipeline stages, drafts, priorities, limits on long prompts, or "
            "a prefix cache of several groups",
            hint="leave those options at their defaults, or make the pool's role `both`",
        )
    (cost,) = stages
    return ConnectedEngine(limits, cost, number)


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
