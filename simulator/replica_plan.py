"""What it takes to start a replica of a deployment, whenever one is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.corrected_source import default_source
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.host_kv import host_kv
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.pipeline import stage_costs
from servecast.primitives.stated_pool import StatedPool
from servecast.primitives.step_cost import StepCost
from servecast.primitives.wave_cost import CompiledWaveCost, WaveCost
from servecast.simulator.admission import Admission
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.engines import connected_engine_of, engine_of, takes_every_step
from servecast.simulator.policies import own_limits, policy_of, transformers_limits
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_limits import SglangLimits, output_room, sglang_limits
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.traces.prefixes import Prefixes
from servecast.traces.workload import Workload


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A deployment with its limits and the compiled cost of its steps."""

    deployment: Deployment
    limits: SchedulerLimits
    stages: Sequence[StepCost]
    """Of each stage of a pipeline, or of all there is; drafts are in the first."""
    policy: Callable[[SchedulerLimits], Scheduler]
    schedules_ahead: bool = False
    wave: WaveCost | None = None
    """Of data-parallel ranks, where there are several."""

    def engine(self, number: int) -> AnyEngine:
        """A replica that has served nothing yet; `number` is that of its log and its records."""
        return engine_of(
            self.deployment,
            self.limits,
            self.stages,
            self.policy,
            number,
            schedules_ahead=self.schedules_ahead,
            wave=self.wave,
        )

    def connected_engine(self, number: int) -> ConnectedEngine:
        """The same, with KV caches that come from other replicas, or go there.

        UnsupportedError where that is not simulated.
        """
        return connected_engine_of(self.deployment, self.limits, self.stages, number)

    def room(self, workload: Workload) -> NDArray[np.int64]:
        """Tokens that each prompt leaves for its output; less than 1: it is rejected."""
        if isinstance(self.limits, SglangLimits):
            return output_room(self.limits, workload)
        return self.deployment.max_model_len - workload.prompt_tokens

    def admission(self, workload: Workload, room: NDArray[np.int64] | None = None) -> Admission:
        """What the engine's front end does to a workload.

        `room` is what prompts leave, where not all of them are served by this deployment.
        """
        room = self.room(workload) if room is None else room
        prefixes = _engine_prefixes(workload, self.limits)
        return Admission(workload, self.deployment.max_model_len, prefixes, room)


def replica_plan(
    deployment: Deployment,
    workload: Workload,
    *,
    cost: StepCost | None = None,
    source: CostSource | None = None,
    host: HostTime | None = None,
    memory: Ledger | StatedPool | None = None,
) -> ReplicaPlan:
    """How replicas of `deployment` are started; `cost` and `memory` save compiling them again.

    A `cost` is that of all there is, drafts included. Without one it is compiled, for each stage of
    a pipeline, from `source` and `host`: the roofline and the engine's default, if left out. What
    data-parallel ranks take together is compiled in any case.

    Raises UnsupportedError for what the simulator does not model, InfeasibleError where the model
    does not fit.
    """
    refuse_unmodelled(deployment)
    limits, source = _limits(deployment, workload, memory), source or default_source()
    stages: Sequence[StepCost] = () if cost is None else (cost,)
    if cost is None:
        stages = _stages(deployment, source, host)
    wave = None
    if deployment.data_parallel_size > 1:
        wave = CompiledWaveCost(deployment, source, host)
    return ReplicaPlan(
        deployment, limits, stages, policy_of(deployment), deployment.schedules_ahead, wave
    )


def _stages(
    deployment: Deployment, source: CostSource, host: HostTime | None
) -> Sequence[StepCost]:
    """What a step costs in each stage, drafts included in the first."""
    target, *later = stage_costs(deployment, source, host)
    return [with_drafts(deployment, target, source), *later]


def _limits(
    deployment: Deployment, workload: Workload, memory: Ledger | StatedPool | None
) -> SchedulerLimits:
    if deployment.engine == "transformers":
        return transformers_limits(deployment, workload)
    if deployment.engine == "sglang":
        return sglang_limits(deployment)
    if deployment.engine == "trtllm":
        return own_limits(deployment)
    memory = memory if isinstance(memory, Ledger) else ledger(deployment)
    memory.require_fit()
    return scheduler_limits(deployment, memory, workload)


def scheduler_limits(deployment: Deployment, memory: Ledger, workload: Workload) -> SchedulerLimits:
    """The scheduler's limits of one replica.

    Hybrid caches are taken as they are where every step is taken, for a prefix cache too. Elsewhere
    a plain cache stands for them.
    """
    plain = SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=deployment.max_model_len,
        num_blocks=plain_blocks(deployment, memory, workload),
        block_size=deployment.block_size,
        enable_prefix_caching=deployment.enable_prefix_caching,
        host=host_kv(deployment, memory),
    )
    groups = memory.geometry.groups
    steps = deployment.enable_prefix_caching or takes_every_step(deployment)
    if memory.geometry.is_uniform or not steps:
        return plain
    return replace(
        plain,
        num_blocks=memory.usable_blocks,
        block_size=math.gcd(*(group.block_tokens for group in groups)),
        groups=groups,
    )


def plain_blocks(deployment: Deployment, memory: Ledger, workload: Workload) -> int:
    """Blocks of a plain cache that holds as many requests of the workload's p10 length.

    One request of full length always fits, as the ledger has seen.
    """
    lengths = workload.prompt_tokens + workload.output_tokens
    short = min(max(1, int(np.percentile(lengths, 10))), deployment.max_model_len)
    whole = -(-deployment.max_model_len // deployment.block_size)
    return max(memory.equivalent_blocks(short), whole)


def _engine_prefixes(workload: Workload, limits: SchedulerLimits) -> Prefixes | None:
    if workload.prefixes is None or not limits.enable_prefix_caching:
        return None
    if limits.groups:
        return workload.prefixes.resampled(limits.block_size)
    return workload.prefixes.in_blocks_of(limits.block_size)
