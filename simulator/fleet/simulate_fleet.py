"""The simulate rung for a fleet: several pools under one workload, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import simpy

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.simulator.admission import Admission
from servecast.simulator.fleet.class_fronts import ClassFronts, ClassKey, homes
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
from servecast.traces.classes import NOBODY
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
    homes_of_classes = homes(fleet, workload)
    admission = _admission(fleet, workload, homes_of_classes, plan)
    roster.unfinished = len(workload) - len(admission.rejected)
    front = partial(_front, fleet, roster, workload, homes_of_classes)
    serve(env, workload, admission, front)
    return _result(fleet, workload, admission, roster)


def _admission(
    fleet: Fleet,
    workload: Workload,
    homes_of_classes: Sequence[ClassKey],
    plan: Callable[[Pool], ReplicaPlan],
) -> Admission:
    """That of the pools where each request's class is served."""
    first = plan(fleet.pools[0])
    if len(fleet.services) == 1:
        return first.admission(workload)
    rooms = {key: plan(pools[0]).room(workload) for key, pools in fleet.services.items()}
    by_class = np.stack([rooms[key] for key in homes_of_classes])
    numbers = (workload.classes or NOBODY).numbers
    return first.admission(workload, by_class[numbers, np.arange(len(workload))])


def _front(
    fleet: Fleet,
    roster: Roster,
    workload: Workload,
    homes_of_classes: Sequence[ClassKey],
    on_finish: OnFinish | None,
) -> Front:
    if fleet.changes:
        on_finish = roster.counting(on_finish)
    fronts = {
        key: _service(fleet, pools, roster, on_finish) for key, pools in fleet.services.items()
    }
    for change in fleet.changes:
        roster.env.process(change.happen(roster))
    if len(fronts) == 1:
        return next(iter(fronts.values()))
    numbers: list[int] = (workload.classes or NOBODY).numbers.tolist()
    return ClassFronts(roster.env, [fronts[key] for key in homes_of_classes], numbers)


def _service(
    fleet: Fleet, pools: Sequence[Pool], roster: Roster, on_finish: OnFinish | None
) -> Front:
    """What serves the same requests."""
    names, env = {pool.name for pool in pools}, roster.env
    members = [member for member in roster.members if member.pool.name in names]
    if pools[0].role != "both":
        return two_sides(fleet, members, env, on_finish)
    router = router_of(
        fleet.routing,
        lambda: int(env.now),
        fleet.routing_options,
        pools[0].deployment.block_size,
    )
    engines = [member.engine for member in members]
    cluster = Cluster(env, engines, router, on_finish, changes=bool(fleet.changes))
    roster.serve_in(cluster, pools)
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
