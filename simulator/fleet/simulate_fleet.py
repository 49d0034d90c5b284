"""The simulate rung for a fleet: several pools under one workload, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import simpy

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.simulator.admission import Admission
from servecast.simulator.fleet.client_records import client_records
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.simulator.fleet.front import Front
from servecast.simulator.fleet.roster import Roster
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.fleet.serve import OnFinish, serve
from servecast.simulator.fleet.two_sides import two_sides
from servecast.simulator.replica_plan import ReplicaPlan, replica_plan
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
    env = simpy.Environment(initial_time=0)
    plans: dict[int, ReplicaPlan] = {}

    def plan(pool: Pool) -> ReplicaPlan:
        deployed = pool.deployment
        if id(deployed) not in plans:
            plans[id(deployed)] = replica_plan(
                deployed, workload, source=source, host=host(deployed)
            )
        return plans[id(deployed)]

    roster = Roster(env, plan)
    for pool in fleet.pools:
        for _ in range(pool.deployment.replicas):
            roster.begin(pool).is_ready = True
    admission = plan(fleet.pools[0]).admission(workload)
    roster.unfinished = len(workload) - len(admission.rejected)
    serve(env, workload, admission, partial(_front, fleet, roster))
    return _result(fleet, workload, admission, roster)


def _front(fleet: Fleet, roster: Roster, on_finish: OnFinish | None) -> Front:
    if fleet.is_disaggregated:
        return two_sides(fleet, roster.members, roster.env, on_finish)
    env, engines = roster.env, [member.engine for member in roster.members]
    if fleet.changes:
        on_finish = roster.counting(on_finish)
    router = router_of(
        fleet.routing,
        lambda: int(env.now),
        fleet.routing_options,
        fleet.pools[0].deployment.block_size,
    )
    cluster = Cluster(env, engines, router, on_finish, changes=bool(fleet.changes))
    roster.serve_in(cluster, fleet.pools)
    for change in fleet.changes:
        env.process(change.happen(roster))
    return cluster


def _result(fleet: Fleet, workload: Workload, admission: Admission, roster: Roster) -> FleetResult:
    members = roster.members
    return FleetResult(
        workload=workload.name,
        records=client_records(members),
        logs=[member.engine.log for member in members],
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        is_open_loop=workload.is_open_loop,
        classes=workload.classes,
        fleet=fleet,
        members=members,
        restarted=roster.restarted,
    )
