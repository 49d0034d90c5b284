"""The simulate rung: a deployment under a workload, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simpy

from servecast.errors import UnsupportedError
from servecast.primitives.corrected_source import default_source
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.step_cost import CompiledStepCost, HostTime, StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.cluster import ClosedLoop, Cluster, open_loop
from servecast.simulator.engine import Engine
from servecast.simulator.lone_engine import serve_closed_loop
from servecast.simulator.policies import policy_of, transformers_limits
from servecast.simulator.records import merge
from servecast.simulator.result import Result
from servecast.simulator.router import ROUTERS
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
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
    memory: Ledger | None = None,
) -> Result:
    """Run `workload` through `deployment`; `cost` and `memory` save compiling them again.

    Without a `cost` one is compiled from `source` and `host`: the roofline and the engine's
    default, where they are left out.

    Raises UnsupportedError for what the simulator does not model, InfeasibleError where the model
    does not fit, InputError where no request fits the model length.
    """
    refuse_unmodelled(deployment)
    limits = _limits(deployment, workload, memory)
    cost = cost or CompiledStepCost(deployment, source or default_source(), host)
    return replay(deployment, workload, limits, cost, policy=policy_of(deployment))


def replay(
    deployment: Deployment,
    workload: Workload,
    limits: SchedulerLimits,
    cost: StepCost,
    *,
    policy: Callable[[SchedulerLimits], Scheduler] = VllmScheduler,
    schedules_ahead: bool = False,
) -> Result:
    """Run `workload` through engines of these limits; whoever calls has checked the deployment.

    Raises InputError where no request fits the model length.
    """
    engines = [
        AsyncEngine(limits, cost, replica)
        if deployment.async_scheduling
        else Engine(limits, cost, replica, policy=policy, schedules_ahead=schedules_ahead)
        for replica in range(deployment.replicas)
    ]
    admission = Admission(workload, deployment.max_model_len, _engine_prefixes(workload, limits))
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
        peak_blocks=max(engine.scheduler.blocks.peak_used for engine in engines),
        is_open_loop=workload.concurrency is None,
    )


def refuse_unmodelled(deployment: Deployment) -> None:
    """Raise UnsupportedError, by name, for what the simulator would have to ignore."""
    policy_of(deployment)
    for name in ("pipeline_parallel_size", "data_parallel_size"):
        size = getattr(deployment, name)
        if size > 1:
            raise UnsupportedError(
                f"{name} {size} is not simulated yet", hint=f"set {name} to 1, or use replicas"
            )
    caches = deployment.engine == "vllm" and deployment.enable_prefix_caching
    if caches and not ledger(deployment).geometry.is_uniform:
        raise UnsupportedError(
            f"prefix caching of {deployment.model.name} is not simulated yet: its KV cache has "
            "groups of other kinds than full attention",
            hint="set enable_prefix_caching to false",
        )


def _limits(deployment: Deployment, workload: Workload, memory: Ledger | None) -> SchedulerLimits:
    if deployment.engine == "transformers":
        return transformers_limits(deployment, workload)
    memory = memory or ledger(deployment)
    memory.require_fit()
    return scheduler_limits(deployment, memory, workload)


def scheduler_limits(deployment: Deployment, memory: Ledger, workload: Workload) -> SchedulerLimits:
    """The scheduler's limits of one replica.

    Hybrid caches are approximated by the plain cache that holds as many requests of the workload's
    p10 length; one request of full length always fits, as the ledger has seen.
    """
    lengths = workload.prompt_tokens + workload.output_tokens
    short = min(max(1, int(np.percentile(lengths, 10))), deployment.max_model_len)
    whole = -(-deployment.max_model_len // deployment.block_size)
    return SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=deployment.max_model_len,
        num_blocks=max(memory.equivalent_blocks(short), whole),
        block_size=deployment.block_size,
        enable_prefix_caching=deployment.enable_prefix_caching,
    )


def _engine_prefixes(workload: Workload, limits: SchedulerLimits) -> Prefixes | None:
    if workload.prefixes is None or not limits.enable_prefix_caching:
        return None
    return workload.prefixes.in_blocks_of(limits.block_size)


def _run(
    engines: list[Engine], deployment: Deployment, workload: Workload, admission: Admission
) -> None:
    router = ROUTERS[deployment.routing]()
    if len(engines) == 1 and router.is_static and workload.concurrency is not None:
        requests = admission.requests()
        serve_closed_loop(engines[0], requests, workload.concurrency, workload.think_ns)
        return
    env = simpy.Environment(initial_time=0)
    if workload.concurrency is None:
        cluster = Cluster(env, engines, router)
        env.process(open_loop(cluster, admission.requests()))
    else:
        clients = ClosedLoop(env, admission.requests(), workload.think_ns)
        cluster = Cluster(env, engines, router, clients.next_request)
        clients.start(cluster, workload.concurrency)
    env.run()
    cluster.drain()
