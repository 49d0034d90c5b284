"""Queueing laws of several replicas behind a router, each with one place and constant steps.

Theory is of exponential service of mean 1 s and Poisson arrivals, by the statistics rule of
`test_queues`.
"""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.deployment import Routing
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.fleet.clients import open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.routers import ROUTERS, router_of
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from tests.constant_cost import ConstantStepCost
from tests.laws.test_queues import LIMITS, STEP_NS, agrees, erlang_c, exponential, waits_s
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

COST = CompiledStepCost(WINDOWED, RooflineSource())


def serve(routing: Routing, rate_per_s: float, jobs: int, servers: int, seed: int = 1) -> Records:
    """All of it but the first twentieth; the same requests whatever the router."""
    rng = np.random.default_rng(seed)
    arrivals = np.rint(np.cumsum(rng.exponential(1e9 / rate_per_s, jobs))).astype(np.int64)
    steps = np.maximum(1, np.rint(exponential(rng, jobs) * 1000)).astype(np.int64)
    requests = (
        Request(index, arrival_ns, 1, tokens, tokens)
        for index, (arrival_ns, tokens) in enumerate(
            zip(arrivals.tolist(), steps.tolist(), strict=True)
        )
    )
    env = simpy.Environment(initial_time=0)
    engines = [Engine(LIMITS, ConstantStepCost(STEP_NS), number) for number in range(servers)]
    cluster = Cluster(env, engines, router_of(routing, lambda: int(env.now)))
    env.process(open_loop(cluster, requests))
    env.run()
    cluster.drain()
    return merge([engine.recorder for engine in engines]).rows(slice(jobs // 20, None))


def test_the_more_a_router_sees_the_less_is_waited() -> None:
    """One queue, the shortest queue, the shorter of two, any: in this order (Mitzenmacher 2001)."""
    order: tuple[Routing, ...] = (
        "central_queue",
        "least_outstanding",
        "power_of_two",
        "round_robin",
        "random",
    )
    means = {routing: serve(routing, 7.2, 8_000, 8) for routing in order}
    waits = {routing: float(waits_s(records).mean()) for routing, records in means.items()}
    assert waits["central_queue"] < waits["least_outstanding"] < waits["power_of_two"]
    assert waits["power_of_two"] < waits["round_robin"] < waits["random"]


@pytest.mark.slow
def test_a_random_router_makes_queues_of_one_server_each() -> None:
    """Poisson streams split by chance are Poisson: Wq = ρ / (μ - λ) at each replica."""
    records = serve("random", 2.8, 800_000, 4)
    agrees(waits_s(records), 0.7 / (1 - 0.7))


@pytest.mark.slow
def test_the_shortest_queue_waits_between_one_queue_and_one_server_each() -> None:
    """Between Erlang's C and M/M/1; that one queue is the former, `test_queues` holds."""
    shortest = float(waits_s(serve("least_outstanding", 2.8, 150_000, 4)).mean())
    assert erlang_c(2.8, 4) / (4 - 2.8) < shortest < 0.7 / (1 - 0.7)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(case=cases(), routing=st.sampled_from(sorted(ROUTERS)))
def test_requests_inside_integrate_to_the_sum_of_their_times(case: Case, routing: Routing) -> None:
    """Little's law on the sample path of the whole cluster, in integers, with no tolerance."""
    env = simpy.Environment(initial_time=0)
    engines = [Engine(case.limits, COST, number) for number in range(3)]
    router = router_of(routing, lambda: int(env.now))
    cluster = Cluster(env, engines, router, on_finish=lambda _: None)
    env.process(open_loop(cluster, (arrival.request() for arrival in case.arrivals)))
    inside_ns = 0
    while env.peek() < inf:
        inside = len(cluster.queue) + sum(engine.outstanding for engine in engines)
        inside_ns += inside * (int(env.peek()) - int(env.now))
        env.step()
    records = merge([engine.recorder for engine in engines])
    assert len(records) == len(case.arrivals)
    assert inside_ns == records.e2e_ns.sum()
