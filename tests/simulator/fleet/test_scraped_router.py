"""Old news: how old it is, and what it makes routers do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.deployment import Routing
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.routing_options import RoutingOptions
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.fleet.clients import open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.fleet.scraped_router import ScrapedRouter
from servecast.simulator.records import merge
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload
from tests.simulator.fleet.fakes import Fake, asks, fakes
from tests.simulator.fleet.test_cluster import rows, run_all
from tests.simulator.fleet.test_routers import KINDS, STALE
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

SCRAPING = [routing for routing, options in KINDS if options is STALE]
COST = CompiledStepCost(WINDOWED, RooflineSource())


def records_behind(routing: Routing, case: Case, *, scraped: bool) -> list[tuple[int, ...]]:
    """Three replicas behind a router, or behind one that is shown fresh snapshots."""
    env = simpy.Environment(initial_time=0)
    router = router_of(routing, lambda: int(env.now))
    if scraped:
        router = ScrapedRouter(router, 0, lambda: int(env.now))
    engines = [Engine(case.limits, COST, number) for number in range(3)]
    cluster = Cluster(env, engines, router)
    env.process(open_loop(cluster, (arrival.request() for arrival in case.arrivals)))
    run_all(env, engines)
    return rows(merge([engine.recorder for engine in engines]))


@settings(max_examples=25, derandomize=True, deadline=None)
@given(case=cases(), routing=st.sampled_from(SCRAPING))
def test_news_that_is_0_ms_old_is_no_news(case: Case, routing: Routing) -> None:
    """To the nanosecond."""
    fresh = records_behind(routing, case, scraped=False)
    assert records_behind(routing, case, scraped=True) == fresh


def crowd(refresh_ms: float) -> list[int]:
    """How many of 400 requests, a millisecond apart, each of 4 replicas has got."""
    requests = 400
    arrival_ns = np.arange(requests, dtype=np.int64) * 1_000_000
    tokens = np.full(requests, 20, np.int64)
    deployment = replace(
        WINDOWED,
        replicas=4,
        routing="least_outstanding",
        routing_options=RoutingOptions(refresh_ms=refresh_ms),
        max_model_len=400,
    )
    result = simulate(deployment, Workload("crowd", arrival_ns, tokens, tokens, tokens))
    counts: list[int] = np.bincount(result.records.replica, minlength=4).tolist()
    return counts


def test_a_router_with_old_news_sends_everybody_to_the_same_replica() -> None:
    """The herd: whoever was least loaded at the last look gets all until the next."""
    fresh, stale = crowd(0.0), crowd(1000.0)
    assert max(fresh) < 1.3 * min(fresh)
    assert stale == [400, 0, 0, 0]


def test_a_look_holds_until_the_period_is_over() -> None:
    now = [0]
    router = router_of("least_outstanding", lambda: now[0], STALE)
    replicas = fakes(2)
    seen: list[int] = []
    for now_ms in (0, 10, 49, 50, 60, 99, 130):
        now[0] = now_ms * 1_000_000
        chosen = router.route(replicas, asks(now_ms))
        assert chosen is not None
        chosen.outstanding += 1
        seen.append(chosen.number)
    assert seen == [0, 0, 0, 1, 1, 1, 0]  # 0 to 3, then 3 to 3: the lower number


def test_who_comes_is_seen_at_once_and_who_goes_gets_nothing() -> None:
    router = router_of("least_outstanding", lambda: 0, STALE)
    replicas = (Fake(0, outstanding=3), Fake(1, outstanding=5))
    assert router.route(replicas, asks(0)) is replicas[0]
    replicas[1].outstanding = 0  # which nobody looks at
    grown = (*replicas, Fake(2, outstanding=4))
    assert router.route(grown, asks(1)) is replicas[0]
    assert router.route(grown[1:], asks(2)) is grown[2]


@pytest.mark.parametrize("routing", SCRAPING)
def test_a_stale_router_serves_all(routing: Routing) -> None:
    tokens = np.full(60, 20, np.int64)
    arrival_ns = np.arange(60, dtype=np.int64) * 10_000_000
    deployment = replace(
        WINDOWED, replicas=3, routing=routing, routing_options=STALE, max_model_len=400
    )
    result = simulate(deployment, Workload("steady", arrival_ns, tokens, tokens, tokens))
    assert len(result.records) == 60
