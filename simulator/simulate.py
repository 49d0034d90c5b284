"""The simulate rung: a deployment under a workload, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import simpy

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.memory import Ledger
from servecast.primitives.stated_pool import StatedPool
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.gate import Gate
from servecast.simulator.fleet.routers import is_static, router_of
from servecast.simulator.fleet.serve import serve
from servecast.simulator.lone_engine import serve_closed_loop, serve_open_loop
from servecast.simulator.records import merge
from servecast.simulator.replica_plan import ReplicaPlan, replica_plan
from servecast.simulator.result import Result
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.tiered_engine import TieredEngine
from servecast.simulator.vllm_scheduler import VllmScheduler
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
    """Run `workload` through `deployment`; the rest is as in `replica_plan`.

    Raises UnsupportedError for what the simulator does not model, InfeasibleError where the model
    does not fit, InputError where no request fits the model length.
    """
    plan = replica_plan(deployment, workload, cost=cost, source=source, host=host, memory=memory)
    return run(plan, workload)


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
    return run(ReplicaPlan(deployment, limits, stages, policy, schedules_ahead), workload)


def run(plan: ReplicaPlan, workload: Workload) -> Result:
    """Run `workload` through as many replicas as the deployment has.

    Raises InputError where no request fits the model length.
    """
    engines = [plan.engine(number) for number in range(plan.deployment.replicas)]
    admission = plan.admission(workload)
    turned_away = _serve(engines, plan.deployment, workload, admission)
    return Result(
        deployment=plan.deployment,
        workload=workload.name,
        records=merge([engine.recorder for engine in engines]),
        logs=[engine.log for engine in engines],
        cost=plan.stages[0],
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        num_blocks=plan.limits.num_blocks,
        peak_blocks=max(engine.peak_blocks for engine in engines),
        tier_uses=[each.tier_use for each in engines if isinstance(each, TieredEngine)],
        is_open_loop=workload.is_open_loop,
        classes=workload.classes,
        turned_away=np.array(turned_away, np.int64),
    )


def _serve(
    engines: Sequence[AnyEngine], deployment: Deployment, workload: Workload, admission: Admission
) -> list[int]:
    """Serve the workload; the indices of requests that a gateway turned away."""
    gateway, is_alone = deployment.gateway, len(engines) == 1 and is_static(deployment.routing)
    if is_alone and workload.sessions is None and gateway is None:
        requests = admission.requests()
        if workload.concurrency is None:
            serve_open_loop(engines[0], requests)
        else:
            serve_closed_loop(engines[0], requests, workload.concurrency, workload.think_ns)
        return []
    env = simpy.Environment(initial_time=0)
    router = router_of(
        deployment.routing,
        lambda: int(env.now),
        deployment.routing_options,
        deployment.block_size,
    )
    front = partial(Cluster, env, engines, router)
    if gateway is None:
        serve(env, workload, admission, front)
        return []
    gate = Gate(env, gateway)
    serve(env, workload, admission, partial(gate.before, front))
    return gate.turned_away
