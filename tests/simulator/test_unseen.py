"""Overlap scheduling: who comes while a step runs misses the step after it too."""

from __future__ import annotations

from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import SchedulerLimits
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000
LIMITS = SchedulerLimits(8, 256, 256, 64)


def scheduled_ms(*arrivals: Arrival, ahead: bool) -> list[int]:
    engine = Engine(LIMITS, ConstantStepCost(MS), schedules_ahead=ahead)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
        engine.check()
    engine.advance(None)
    return [int(ns) // MS for ns in records_of(engine).scheduled_ns]


def test_an_arrival_within_a_step_misses_one_step_more() -> None:
    arrivals = (Arrival(0, 0, 8, 20), Arrival(1, 5 * MS + 1, 8, 2))
    assert scheduled_ms(*arrivals, ahead=False) == [0, 6]
    assert scheduled_ms(*arrivals, ahead=True) == [0, 7]


def test_an_arrival_at_a_boundary_misses_the_step_that_starts_there() -> None:
    arrivals = (Arrival(0, 0, 8, 20), Arrival(1, 5 * MS, 8, 2))
    assert scheduled_ms(*arrivals, ahead=False) == [0, 5]
    assert scheduled_ms(*arrivals, ahead=True) == [0, 6]


def test_an_idle_engine_sees_all_that_come_at_once() -> None:
    arrivals = (Arrival(0, 3, 8, 4), Arrival(1, 3, 8, 4), Arrival(2, 50 * MS, 8, 4))
    assert scheduled_ms(*arrivals, ahead=True) == [0, 0, 50]
