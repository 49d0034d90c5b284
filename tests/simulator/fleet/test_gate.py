"""Who is let in, who waits in line, and who is turned away."""

from __future__ import annotations

from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from servecast.primitives.deployment import Routing
from servecast.primitives.routing_options import Gateway
from servecast.simulator.result import Result
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.toy_deployments import WINDOWED

STEP_NS = 1_000_000
LONGEST = 40_000
LIMITS = SchedulerLimits(1, LONGEST, LONGEST, LONGEST // 16)
GATEWAYS = st.builds(
    Gateway,
    st.integers(1, 6),
    st.integers(0, 5),
    st.one_of(st.none(), st.floats(0.001, 0.5)),
)


def workload(arrival_ns: list[int] | NDArray[np.int64], tokens: NDArray[np.int64]) -> Workload:
    ones = np.ones(len(tokens), np.int64)
    return Workload("crowd", np.asarray(arrival_ns, np.int64), ones, tokens, tokens)


def serve(
    gateway: Gateway | None,
    load: Workload,
    replicas: int = 1,
    routing: Routing = "least_outstanding",
) -> Result:
    """Replicas with one place each, whose every step takes a millisecond."""
    deployment = replace(
        WINDOWED, replicas=replicas, routing=routing, gateway=gateway, max_model_len=LONGEST
    )
    return replay(deployment, load, LIMITS, ConstantStepCost(STEP_NS))


def test_who_finds_neither_a_place_nor_room_in_line_is_turned_away() -> None:
    load = workload([0, 1, 2, 3, 4], np.full(5, 10, np.int64))
    result = serve(Gateway(max_outstanding=1, max_queued=2), load)
    assert result.turned_away.tolist() == [3, 4]
    assert result.records.index.tolist() == [0, 1, 2]
    assert result.records.scheduled_ns.tolist() == [0, 10 * STEP_NS, 20 * STEP_NS]
    assert len(result.rejected) == 0


def test_who_has_waited_too_long_leaves_the_line() -> None:
    load = workload([0, 0, 0], np.full(3, 10, np.int64))
    result = serve(Gateway(1, max_queued=2, max_wait_s=0.015), load)
    assert result.turned_away.tolist() == [2]
    assert result.records.scheduled_ns.tolist() == [0, 10 * STEP_NS]


def test_a_client_who_is_turned_away_sends_its_next_request() -> None:
    tokens = np.full(12, 10, np.int64)
    result = serve(Gateway(1), closed_loop(workload([0] * 12, tokens), 3, 2 * STEP_NS))
    assert len(result.records) + len(result.turned_away) == 12
    assert len(result.turned_away) > 3


def test_they_count_as_missed() -> None:
    load = workload([0, 1], np.full(2, 10, np.int64))
    result = serve(Gateway(1), load)
    assert result.arrived == 2
    assert result.attainment([]) == 0.5


@settings(max_examples=60, derandomize=True, deadline=None)
@given(GATEWAYS, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_everybody_is_served_or_turned_away(gateway: Gateway, replicas: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrival_ns = np.cumsum(rng.integers(0, 20_000_000, 60))
    load = workload(arrival_ns, rng.integers(1, 30, 60))
    result = serve(gateway, load, replicas)
    seen = np.concatenate((result.records.index, result.turned_away))
    assert sorted(seen.tolist()) == list(range(60))
    times = [(ns, 1) for ns in result.records.scheduled_ns.tolist()]
    times += [(ns, -1) for ns in result.records.finish_ns.tolist()]
    inside = 0
    for _, change in sorted(times):
        inside += change
        assert inside <= gateway.max_outstanding


def erlang_b(load: float, servers: int) -> float:
    """Probability that all servers of M/M/c/c are busy."""
    terms = [load**n / factorial(n) for n in range(servers + 1)]
    return terms[-1] / sum(terms)


def test_a_gateway_without_a_line_blocks_as_erlang_b_says() -> None:
    """And whatever the law of service: here exponential and constant."""
    rng, jobs, servers, load = np.random.default_rng(3), 16_000, 4, 3.0
    arrival_ns = np.rint(np.cumsum(rng.exponential(1e9 / load, jobs))).astype(np.int64)
    exponential = np.maximum(1, np.rint(rng.exponential(1000.0, jobs))).astype(np.int64)
    for tokens in (exponential, np.full(jobs, 1000, np.int64)):
        result = serve(Gateway(servers), workload(arrival_ns, tokens), servers)
        blocked = np.zeros(jobs)
        blocked[result.turned_away] = 1.0
        batches = blocked[jobs // 20 :].reshape(20, -1).mean(axis=1)
        half_width = 2.09 * batches.std(ddof=1) / 20**0.5
        assert half_width < 0.1 * erlang_b(load, servers)
        assert abs(batches.mean() - erlang_b(load, servers)) <= 3 * half_width


def test_a_gateway_with_a_line_without_end_is_one_queue() -> None:
    rng = np.random.default_rng(4)
    arrival_ns = np.rint(np.cumsum(rng.exponential(3e8, 3000))).astype(np.int64)
    load = workload(arrival_ns, rng.integers(1, 2000, 3000))
    gated = serve(Gateway(4, max_queued=3000), load, 4)
    central = serve(None, load, 4, "central_queue")
    assert gated.records.scheduled_ns.tolist() == central.records.scheduled_ns.tolist()
    assert (gated.records.scheduled_ns > gated.records.arrival_ns).any()


@pytest.mark.parametrize("routing", ["round_robin", "central_queue"])
def test_it_stands_before_any_router(routing: Routing) -> None:
    load = workload([0, 0, 0, 0], np.full(4, 10, np.int64))
    assert serve(Gateway(2), load, 2, routing).turned_away.tolist() == [2, 3]
