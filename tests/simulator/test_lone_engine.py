"""Clients in front of one engine are served alike with a cluster around it and without."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.fleet.clients import ClosedLoop, open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.static_routers import RoundRobin
from servecast.simulator.lone_engine import serve_closed_loop, serve_open_loop
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from tests.driver import records_of
from tests.toy_deployments import DENSE
from tests.workload_cases import GAPS_NS

COST = CompiledStepCost(DENSE, RooflineSource())
LIMITS = SchedulerLimits(6, 64, 256, 24)
LENGTHS = st.lists(st.tuples(st.integers(1, 128), st.integers(1, 64)), min_size=1, max_size=30)


def requests(lengths: list[tuple[int, int]]) -> list[Request]:
    return [Request(i, 0, prompt, out, out) for i, (prompt, out) in enumerate(lengths)]


def assert_equal(alone: Engine, engine: Engine) -> None:
    """All times, and the runs of steps they come from."""
    ours, theirs = records_of(alone), records_of(engine)
    for name in ("arrival_ns", "scheduled_ns", "first_token_ns", "finish_ns", "preemptions"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert len(alone.log) == len(engine.log)


@pytest.mark.parametrize("ahead", [False, True])
@settings(max_examples=80, derandomize=True, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.sampled_from([0, 1, 500_000, 90_000_000]))
def test_both_serve_alike(
    ahead: bool, lengths: list[tuple[int, int]], concurrency: int, think_ns: int
) -> None:
    alone = Engine(LIMITS, COST, schedules_ahead=ahead)
    serve_closed_loop(alone, requests(lengths), concurrency, think_ns)
    env, engine = simpy.Environment(initial_time=0), Engine(LIMITS, COST, schedules_ahead=ahead)
    clients = ClosedLoop(env, requests(lengths), think_ns)
    cluster = Cluster(env, [engine], RoundRobin(), clients.next_request)
    clients.start(cluster, concurrency)
    env.run()
    cluster.drain()
    assert_equal(alone, engine)


@pytest.mark.parametrize("ahead", [False, True])
@settings(max_examples=80, derandomize=True, deadline=None)
@given(LENGTHS, st.lists(GAPS_NS, min_size=30, max_size=30))
def test_an_open_loop_is_served_alike(
    ahead: bool, lengths: list[tuple[int, int]], gaps_ns: list[int]
) -> None:
    def arriving() -> list[Request]:
        coming = requests(lengths)
        for request, arrival_ns in zip(coming, accumulate(gaps_ns), strict=False):
            request.arrival_ns = arrival_ns
        return coming

    alone, engine = (Engine(LIMITS, COST, schedules_ahead=ahead) for _ in range(2))
    serve_open_loop(alone, arriving())
    env = simpy.Environment(initial_time=0)
    # Watched, as behind a router that looks at it: simpy's clock goes from event to event.
    cluster = Cluster(env, [engine], RoundRobin(), on_finish=lambda _: None)
    env.process(open_loop(cluster, arriving()))
    env.run()
    cluster.drain()
    assert_equal(alone, engine)
    assert not alone.finished
