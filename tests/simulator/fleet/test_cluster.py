"""Replicas behind a router, with open and with closed clients in front of them."""

from __future__ import annotations

import math

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.deployment import Routing
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.fleet.clients import ClosedLoop, open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.load_routers import CentralQueue
from servecast.simulator.fleet.routers import ROUTERS, router_of
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of, run, run_out
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

STEP_NS = 10
STEP = ConstantStepCost(STEP_NS)
COST = CompiledStepCost(WINDOWED, RooflineSource())
EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)

ROUTINGS = st.sampled_from(sorted(ROUTERS))
REPLICAS = st.integers(1, 3)
CONCURRENCY = st.integers(1, 12)
THINK_NS = st.one_of(st.just(0), st.integers(1, 6).map(lambda n: n * STEP_NS), st.integers(1, 99))


def limits(max_num_seqs: int = 4) -> SchedulerLimits:
    return SchedulerLimits(max_num_seqs, 64, 1024, 1024, 16)


def engines_of(limits: SchedulerLimits, cost: StepCost, count: int) -> list[Engine]:
    return [Engine(limits, cost, replica) for replica in range(count)]


def run_all(env: simpy.Environment, engines: list[Engine]) -> None:
    """Run to the end, and fail where there is none."""
    for _ in range(100_000):
        if env.peek() == math.inf:
            break
        env.step()
    else:
        raise AssertionError("the cluster never comes to rest")
    for engine in engines:
        run_out(engine)


def serve_open(
    engines: list[Engine], routing: Routing, arrivals: list[Arrival] | tuple[Arrival, ...]
) -> Records:
    env = simpy.Environment(initial_time=0)
    cluster = Cluster(env, engines, router_of(routing, lambda: int(env.now)))
    env.process(open_loop(cluster, (arrival.request() for arrival in arrivals)))
    run_all(env, engines)
    cluster.drain()
    assert not cluster.queue
    return merge([engine.recorder for engine in engines])


def serve_closed(
    engines: list[Engine],
    routing: Routing,
    arrivals: list[Arrival] | tuple[Arrival, ...],
    concurrency: int,
    think_ns: int,
) -> Records:
    env = simpy.Environment(initial_time=0)
    clients = ClosedLoop(env, (arrival.request() for arrival in arrivals), think_ns)
    router = router_of(routing, lambda: int(env.now))
    cluster = Cluster(env, engines, router, clients.next_request)
    clients.start(cluster, concurrency)
    run_all(env, engines)
    cluster.drain()
    return merge([engine.recorder for engine in engines])


def rows(records: Records) -> list[tuple[int, ...]]:
    columns = (
        records.index,
        records.arrival_ns,
        records.scheduled_ns,
        records.first_token_ns,
        records.finish_ns,
        records.preemptions,
        records.replica,
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_round_robin_deals_requests_out_in_turn() -> None:
    arrivals = [Arrival(index, index, 4, 4) for index in range(7)]
    records = serve_open(engines_of(limits(), STEP, 3), "round_robin", arrivals)
    assert records.replica.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_central_queue_gives_each_place_that_becomes_free_to_its_head() -> None:
    """Two replicas of one place; steps of 10 ns. Replica 1 is free again at 20, replica 0 at 50."""
    arrivals = [Arrival(index, 0, 1, tokens) for index, tokens in enumerate((5, 2, 1, 4, 1))]
    records = serve_open(engines_of(limits(1), STEP, 2), "central_queue", arrivals)
    assert records.replica.tolist() == [0, 1, 1, 1, 0]
    assert records.scheduled_ns.tolist() == [0, 0, 20, 30, 50]
    assert records.finish_ns.tolist() == [50, 20, 30, 70, 60]


def test_a_central_queue_prefers_the_least_loaded_and_then_the_lowest() -> None:
    arrivals = [Arrival(index, 0, 1, tokens) for index, tokens in enumerate((9, 1, 9, 9))]
    late = [*arrivals, Arrival(4, 15, 1, 1)]
    records = serve_open(engines_of(limits(), STEP, 2), "central_queue", late)
    assert records.replica.tolist() == [0, 1, 0, 1, 1]


@EXAMPLES
@given(case=cases(), routing=ROUTINGS)
def test_one_replica_behind_a_router_is_the_engine_alone(case: Case, routing: Routing) -> None:
    alone = run(case.limits, COST, case.arrivals)
    engines = engines_of(case.limits, COST, 1)
    assert rows(serve_open(engines, routing, case.arrivals)) == rows(records_of(alone))


@EXAMPLES
@given(case=cases(), routing=ROUTINGS, replicas=st.integers(2, 3))
def test_replicas_that_skip_equal_replicas_that_step(
    case: Case, routing: Routing, replicas: int
) -> None:
    skipping = engines_of(case.limits, COST, replicas)
    stepping = [Engine(case.limits, COST, replica, stepping=True) for replica in range(replicas)]
    seen = serve_open(skipping, routing, case.arrivals)
    assert rows(seen) == rows(serve_open(stepping, routing, case.arrivals))


@EXAMPLES
@given(cases(), ROUTINGS, REPLICAS, CONCURRENCY, THINK_NS)
def test_clients_of_a_closed_loop_see_the_same_from_both(
    case: Case, routing: Routing, replicas: int, concurrency: int, think_ns: int
) -> None:
    skipping = engines_of(case.limits, STEP, replicas)
    stepping = [Engine(case.limits, STEP, replica, stepping=True) for replica in range(replicas)]
    seen = serve_closed(skipping, routing, case.arrivals, concurrency, think_ns)
    expected = serve_closed(stepping, routing, case.arrivals, concurrency, think_ns)
    assert rows(seen) == rows(expected)


@EXAMPLES
@given(cases(), ROUTINGS, REPLICAS, CONCURRENCY, THINK_NS)
def test_each_finish_is_followed_by_an_arrival_a_think_time_later(
    case: Case, routing: Routing, replicas: int, concurrency: int, think_ns: int
) -> None:
    """So never more than `concurrency` requests are inside, and no fewer while clients think not.

    With equal steps many replicas finish at the same instant, which must delay nobody.
    """
    engines = engines_of(case.limits, STEP, replicas)
    records = serve_closed(engines, routing, case.arrivals, concurrency, think_ns)
    assert len(records) == len(case.arrivals)
    followers = max(0, len(records) - concurrency)
    arrivals = [0] * (len(records) - followers)
    arrivals += [finish + think_ns for finish in sorted(records.finish_ns.tolist())[:followers]]
    assert sorted(records.arrival_ns.tolist()) == arrivals
    times = [(ns, 1) for ns in records.arrival_ns.tolist()]
    times += [(ns, -1) for ns in records.finish_ns.tolist()]
    inside = 0
    for _, change in sorted(times):
        inside += change
        assert inside <= concurrency


@pytest.mark.parametrize("concurrency", [1, 2, 4, 8, 16])
def test_throughput_of_a_closed_loop_is_bounded_by_clients_and_by_places(concurrency: int) -> None:
    """Law 11: X ≤ min(N / (R₀ + Z), 1 / D), here with equality; four places, ten equal steps.

    R = N / X - Z is then the mean response time, but for the start and the end of the run.
    """
    tokens, think_ns, requests, places = 10, 30, 1600, 4
    alone_ns = tokens * STEP_NS
    arrivals = [Arrival(index, 0, 1, tokens) for index in range(requests)]
    records = serve_closed(
        engines_of(limits(places), STEP, 1), "round_robin", arrivals, concurrency, think_ns
    )
    per_ns = requests / int(records.finish_ns.max())
    bound_per_ns = min(concurrency / (alone_ns + think_ns), places / alone_ns)
    assert per_ns == pytest.approx(bound_per_ns, rel=0.02)
    assert per_ns <= bound_per_ns * (1 + concurrency / requests)
    response_ns = concurrency / per_ns - think_ns
    assert records.e2e_ns.mean() == pytest.approx(response_ns, rel=0.03)


def test_clients_who_think_not_keep_their_number_inside() -> None:
    arrivals = [Arrival(index, 0, 1, 1 + index % 7) for index in range(200)]
    records = serve_closed(engines_of(limits(), STEP, 2), "round_robin", arrivals, 5, think_ns=0)
    inside_ns = records.e2e_ns.sum()
    sending_ends_ns = int(records.arrival_ns.max())
    assert inside_ns >= 5 * sending_ends_ns
    assert inside_ns <= 5 * int(records.finish_ns.max())


def test_a_static_open_loop_hands_nothing_back() -> None:
    """Nobody takes the finished requests, so they are dropped as the run goes on."""
    engines = engines_of(limits(), STEP, 2)
    arrivals = [Arrival(index, index * 100, 1, 3) for index in range(50)]
    serve_open(engines, "round_robin", arrivals)
    assert [engine.finished for engine in engines] == [[], []]


def test_the_queue_in_front_holds_what_has_no_place() -> None:
    env = simpy.Environment(initial_time=0)
    cluster = Cluster(env, engines_of(limits(1), STEP, 2), CentralQueue())
    for index in range(5):
        cluster.submit(Request(index, 0, 1, 3, 3))
    assert [request.index for request in cluster.queue] == [2, 3, 4]
    env.run(until=31)
    assert [request.index for request in cluster.queue] == [4]


def test_a_place_is_free_once_a_last_token_is_out_though_it_is_computed_once_more() -> None:
    """An engine that schedules ahead learns of an end one step late; the router does not."""
    engines: list[Engine] = [AsyncEngine(limits(1), STEP, replica) for replica in range(2)]
    arrivals = [Arrival(index, 0, 1, 3) for index in range(5)]
    records = serve_open(engines, "central_queue", arrivals)
    assert len(records) == len(arrivals)
    assert records.replica.tolist() == [0, 1, 0, 1, 0]
