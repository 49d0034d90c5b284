"""The simulate rung for a fleet: several pools under one workload, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.fleet import Fleet
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.simulator.fleet.member import Member
from servecast.simulator.fleet.router import ROUTERS
from servecast.simulator.fleet.serve import OnFinish, serve
from servecast.simulator.records import merge
from servecast.simulator.replica_plan import replica_plan
from servecast.traces.workload import Workload


def simulate_fleet(
    fleet: Fleet,
    workload: Workload,
    *,
    source: CostSource | None = None,
    host: Callable[[Deployment], HostTime] = HostTime.of,
) -> FleetResult:
    """Run `workload` through `fleet`; `host` is that of engines, their default if left out.

    Raises UnsupportedError for what the simulator does not model, InfeasibleError where a model
    does not fit, InputError where no request fits the model length.
    """
    members: list[Member] = []
    for pool in fleet.pools:
        plan = replica_plan(pool.deployment, workload, source=source, host=host(pool.deployment))
        for _ in range(pool.deployment.replicas):
            members.append(Member(pool, plan, plan.engine(len(members))))
    admission = members[0].plan.admission(workload)
    env = simpy.Environment(initial_time=0)

    def front(on_finish: OnFinish | None) -> Cluster:
        engines = [member.engine for member in members]
        return Cluster(env, engines, ROUTERS[fleet.routing](), on_finish)

    serve(env, workload, admission, front)
    return FleetResult(
        workload=workload.name,
        records=merge([member.engine.recorder for member in members]),
        logs=[member.engine.log for member in members],
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        is_open_loop=workload.is_open_loop,
        classes=workload.classes,
        fleet=fleet,
        members=members,
    )
