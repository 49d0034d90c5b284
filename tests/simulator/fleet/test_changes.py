"""A fleet that changes while it serves: no request is lost or doubled, whatever happens to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.deployment import Routing
from servecast.simulator.fleet.autoscaler import Autoscaler, Signal
from servecast.simulator.fleet.change import Change
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.simulator.fleet.outages import Outage, RandomOutages
from servecast.simulator.fleet.rollout import Rollout
from servecast.simulator.fleet.routers import ROUTERS
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.simulate import simulate
from tests.search_cases import workload
from tests.toy_deployments import DENSE

SECOND = 1_000_000_000
EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None)
SMALL = replace(DENSE, max_num_seqs=8, usd_per_gpu_hour=1.0)
TIMES = st.integers(0, 40 * SECOND)
DOWN = st.one_of(st.just(0), st.integers(1, 30 * SECOND))


def outages() -> st.SearchStrategy[Change]:
    return st.builds(Outage, st.just("p"), TIMES, DOWN, st.integers(1, 3))


def random_outages() -> st.SearchStrategy[Change]:
    mean = st.integers(SECOND, 60 * SECOND)
    return st.builds(RandomOutages, st.just("p"), mean, DOWN, st.integers(0, 9))


def autoscalers() -> st.SearchStrategy[Change]:
    return st.builds(
        Autoscaler,
        st.just("p"),
        st.sampled_from(["utilisation", "queue", "ttft"]),
        st.floats(0.05, 4.0),
        st.integers(1, 5),
        st.just(1),
        DOWN,
        st.integers(SECOND, 20 * SECOND),
        st.integers(0, 30 * SECOND),
    )


def rollouts() -> st.SearchStrategy[Change]:
    other = replace(SMALL, max_num_seqs=16)
    return st.builds(Rollout, st.just("p"), st.just(other), TIMES, DOWN, st.integers(0, 2))


def served(
    *changes: Change, replicas: int = 2, routing: Routing = "round_robin", rate: float = 6.0
) -> FleetResult:
    pool = Pool("p", replace(SMALL, replicas=replicas))
    return simulate_fleet(Fleet((pool,), routing, changes=changes), workload(120, rate))


def replicas_at(result: FleetResult, second: float) -> int:
    """How many occupy their GPUs at a moment."""
    now_ns = second * SECOND
    ends = [now_ns + 1 if m.until_ns is None else m.until_ns for m in result.members]
    starts = [member.since_ns for member in result.members]
    return sum(start <= now_ns < end for start, end in zip(starts, ends, strict=True))


@EXAMPLES
@given(
    changes=st.lists(
        st.one_of(outages(), random_outages(), autoscalers(), rollouts()), min_size=1, max_size=3
    ),
    replicas=st.integers(1, 3),
    routing=st.sampled_from(sorted(ROUTERS)),
)
def test_no_request_is_lost_or_doubled_under_any_changes(
    changes: list[Change], replicas: int, routing: Routing
) -> None:
    result = served(*changes, replicas=replicas, routing=routing)
    accepted = np.setdiff1d(np.arange(result.arrived), result.rejected)
    assert result.records.index.tolist() == accepted.tolist()
    asked = workload(120, 6.0)
    assert (result.records.output_tokens <= asked.output_tokens[accepted]).all()
    assert (result.records.first_token_ns > result.records.arrival_ns).all()


def test_a_fleet_in_which_nothing_changes_is_a_deployment() -> None:
    asked = workload(120, 6.0)
    fleet = served()
    alone = simulate(replace(SMALL, replicas=2), asked)
    assert fleet.records.finish_ns.tolist() == alone.records.finish_ns.tolist()
    assert fleet.usd() == pytest.approx(alone.usd())


def test_an_outage_after_the_end_changes_nothing() -> None:
    late = served(Outage("p", 10_000 * SECOND, 0))
    assert late.records.finish_ns.tolist() == served().records.finish_ns.tolist()
    assert late.restarted == 0


def test_what_a_failed_replica_held_begins_again_elsewhere() -> None:
    result = served(Outage("p", 5 * SECOND, 10 * SECOND))
    failed, kept, back = result.members
    assert failed.until_ns == back.since_ns == 5 * SECOND
    assert kept.until_ns is None
    assert result.restarted > 0
    finished_there = result.records.finish_ns[result.records.replica == 0]
    assert int(finished_there.max()) <= 5 * SECOND
    begun_back = result.records.scheduled_ns[result.records.replica == 2]
    assert int(begun_back.min()) >= 15 * SECOND


def test_requests_wait_while_no_replica_is_there() -> None:
    result = served(Outage("p", 5 * SECOND, 20 * SECOND), replicas=1)
    waited = (result.records.arrival_ns > 5 * SECOND) & (result.records.arrival_ns < 25 * SECOND)
    assert waited.any()
    assert (result.records.scheduled_ns[waited] >= 25 * SECOND).all()


def test_failures_are_drawn_from_their_seed_and_as_often_as_stated() -> None:
    def times(seed: int) -> list[int]:
        result = served(RandomOutages("p", 4 * SECOND, 0, seed), replicas=3)
        return [member.until_ns for member in result.members if member.until_ns is not None]

    assert times(1) == times(1) != times(2)
    per_second = [sum(each < 20 * SECOND for each in times(seed)) / 20 for seed in range(12)]
    assert np.mean(per_second) == pytest.approx(3 / 4, rel=0.25)


def test_an_autoscaler_follows_the_load_and_gpus_are_paid_while_they_are_there() -> None:
    scaler = Autoscaler(
        "p", "utilisation", 0.5, most=6, start_up_ns=5 * SECOND, interval_ns=2 * SECOND
    )
    result = served(scaler, replicas=1, rate=12.0)
    assert replicas_at(result, 0.5) == 1
    assert replicas_at(result, 9.0) > 1
    assert max(replicas_at(result, second) for second in range(20)) <= 6
    alone = served(replicas=1, rate=12.0)
    assert result.ttft.p95 < alone.ttft.p95
    assert alone.gpu_hours < result.gpu_hours < 6 * result.duration_s / 3600


def test_replicas_leave_only_after_the_patience_is_over() -> None:
    def fewest(patience_s: int) -> int:
        scaler = Autoscaler("p", "utilisation", 0.9, 4, 1, 0, SECOND, patience_s * SECOND)
        result = served(scaler, replicas=4, rate=1.0)
        return min(replicas_at(result, second) for second in range(5, 60))

    assert fewest(1000) == 4
    assert fewest(5) < 4


@pytest.mark.parametrize("signal", ["utilisation", "queue", "ttft"])
def test_every_signal_scales_up_under_a_load_that_one_replica_cannot_bear(signal: Signal) -> None:
    target = {"utilisation": 0.5, "queue": 2.0, "ttft": 0.2}[signal]
    scaler = Autoscaler("p", signal, target, most=4, interval_ns=SECOND)
    assert len(served(scaler, replicas=1, rate=30.0).members) > 1


@pytest.mark.parametrize("surge", [0, 1, 2])
def test_a_rollout_replaces_every_replica_and_keeps_as_many(surge: int) -> None:
    other = replace(SMALL, max_num_seqs=16)
    result = served(Rollout("p", other, 2 * SECOND, 3 * SECOND, surge), replicas=2, rate=3.0)
    old, new = result.members[:2], result.members[2:]
    assert all(member.until_ns is not None for member in old)
    assert [member.pool.deployment for member in new] == [other, other]
    most = max(replicas_at(result, tenth / 10) for tenth in range(400))
    assert most == 2 + surge if surge else most <= 2


def test_a_change_of_a_pool_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no pool `q` to change"):
        Fleet((Pool("p", SMALL),), changes=(Outage("q", 0, 0),))
