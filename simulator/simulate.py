"""The simulate rung: a deployment under a workload, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import simpy

from servecast.primitives.corrected_source import default_source
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.pipeline import stage_costs
from servecast.primitives.stated_pool import StatedPool
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.engines import engines_of, takes_every_step
from servecast.simulator.fleet.clients import ClosedLoop, open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.router import ROUTERS
from servecast.simulator.fleet.session_clients import SessionClients
from servecast.simulator.lone_engine import serve_closed_loop, serve_open_loop
from servecast.simulator.policies import own_limits, policy_of, transformers_limits
from servecast.simulator.records import merge
from servecast.simulator.result import Result
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_limits import SglangLimits, output_room, sglang_limits
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.simulator.vllm_scheduler import VllmScheduler
from servecast.traces.prefixes import Prefixes
from servecast.traces.workload import Workload


def simulate(
    deployment: Deployment,
    workload: Workload,
    *,
    cost: StepCost | None = None,
    source: CostSource | None = None,
    host: HostTime | None = None,
    memory: Ledger | StatedPool | None = None,
) -> Result:
    """Run `workload` through `deployment`; `cost` and `memory` save compiling them again.

    A `cost` is that of all there is, drafts included. Without one it is compiled, for each stage of
    a pipeline, from `source` and `host`: the roofline and the engine's default, if left out.

    Raises UnsupportedError for what the simulator does not model, InfeasibleError where the model
    does not fit, InputError where no request fits the model length.
    """
    refuse_unmodelled(deployment)
    limits = _limits(deployment, workload, memory)
    later: Sequence[StepCost] = ()
    if cost is None:
        cost, *later = _stages(deployment, source or default_source(), host)
    return replay(
        deployment,
        workload,
        limits,
        cost,
        policy=policy_of(deployment),
        schedules_ahead=deployment.schedules_ahead,
        later_stages=later,
    )


def replay(
    deployment: Deployment,
    workload: Workload,
    limits: SchedulerLimits,
    cost: StepCost,
    *,
    policy: Callable[[SchedulerLimits], Scheduler] = VllmScheduler,
    schedules_ahead: bool = False,
    later_stages: Sequence[StepCost] = (),
) -> Result:
    """Run `workload` through engines of these limits; whoever calls has checked the deployment.

    `cost` is that of the first stage of a pipeline, or of all there is, drafts included.

    Raises InputError where no request fits the model length.
    """
    stages = [cost, *later_stages]
    engines = engines_of(deployment, limits, stages, policy, schedules_ahead=schedules_ahead)
    admission = _admission(deployment, workload, limits)
    _run(engines, deployment, workload, admission)
    return Result(
        deployment=deployment,
        workload=workload.name,
        records=merge([engine.recorder for engine in engines]),
        logs=[engine.log for engine in engines],
        cost=cost,
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        num_blocks=limits.num_blocks,
        peak_blocks=max(engine.peak_blocks for engine in engines),
        is_open_loop=workload.is_open_loop,
    )


def _admission(deployment: Deployment, workload: Workload, limits: SchedulerLimits) -> Admission:
    room = output_room(limits, workload) if isinstance(limits, SglangLimits) else None
    prefixes = _engine_prefixes(workload, limits)
    return Admission(workload, deployment.max_model_len, prefixes, room)


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


def _run(
    engines: Sequence[AnyEngine], deployment: Deployment, workload: Workload, admission: Admission
) -> None:
    router, requests = ROUTERS[deployment.routing](), admission.requests()
    sessions = workload.sessions
    if len(engines) == 1 and router.is_static and sessions is None:
        if workload.concurrency is None:
            serve_open_loop(engines[0], requests)
        else:
            serve_closed_loop(engines[0], requests, workload.concurrency, workload.think_ns)
        return
    env = simpy.Environment(initial_time=0)
    if sessions is not None:
        followed = SessionClients(env, admission, workload, sessions)
        cluster = Cluster(env, engines, router, followed.finished)
        followed.start(cluster)
    elif workload.concurrency is None:
        cluster = Cluster(env, engines, router)
        env.process(open_loop(cluster, requests))
    else:
        clients = ClosedLoop(env, requests, workload.think_ns)
        cluster = Cluster(env, engines, router, clients.next_request)
        clients.start(cluster, workload.concurrency)
    env.run()
    cluster.drain()
