"""When one scheduler's requests start and end, on a clock where every step takes a millisecond."""

from __future__ import annotations

from collections.abc import Callable

from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of, run_out

MS = 1_000_000


def served(
    policy: Callable[[SchedulerLimits], Scheduler], limits: SchedulerLimits, *arrivals: Arrival
) -> dict[str, list[int]]:
    """Milliseconds at which each request was first scheduled, and had its last token."""
    engine = Engine(limits, ConstantStepCost(MS), policy=policy)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    run_out(engine)
    engine.check()
    records = records_of(engine)
    order = records.index.argsort()
    return {
        "scheduled": (records.scheduled_ns[order] // MS).tolist(),
        "finish": (records.finish_ns[order] // MS).tolist(),
    }
