"""Replicas of vLLM that share a queue or their clients, and the simulator's: the same runs."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from servecast.emulation import run
from servecast.errors import ServecastError, UnsupportedError
from servecast.primitives.deployment import Routing
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.simulator.records import Records
from servecast.simulator.simulate import simulate
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.mode import Mode
from servecast.traces.reshape import closed_loop
from tests.timewarp.emulated_cases import (
    PLAIN,
    Case,
    break_vllm,
    burst,
    caching,
    conversations,
    limited,
    poisson,
)

CENTRAL: Routing = "central_queue"
CLIENTS = burst(40, [200, 40], [30, 60, 10])
CASES = (
    Case("Poisson into one queue", limited(max_num_seqs=4), poisson(60, 20.0)),
    Case("one place each", limited(max_num_seqs=1), burst(12, [40, 90], [5, 9, 13])),
    Case("closed loop", limited(max_num_seqs=4), closed_loop(CLIENTS, 9, 0)),
    Case("clients who think", limited(max_num_seqs=4), closed_loop(CLIENTS, 9, 50_000_000)),
    Case("fewer clients than replicas", limited(max_num_seqs=8),
         closed_loop(burst(12, [40, 90], [5, 9, 13]), 2, 1_000_000)),
    Case("conversations in small caches",
         caching(max_model_len=1024, num_gpu_blocks_override=150), conversations(20, 3)),
)  # fmt: skip
RUNS = [
    pytest.param(case, routing, id=f"{case.name}, {routing}")
    for case in CASES
    for routing in (CENTRAL, "round_robin")
    if routing == CENTRAL or case.workload.concurrency is not None
]
"""Whatever shares a clock: an open loop dealt out in turns does not."""
OTHERS: tuple[Routing, ...] = ("random", "least_kv", "prefix_affinity")


def of_three(case: Case, routing: Routing, *, asynchronous: bool = False) -> Case:
    three = replace(case.deployment, replicas=3, routing=routing, async_scheduling=asynchronous)
    return replace(case, deployment=three)


def emulated(case: Case, mode: Mode | None = None) -> Emulation:
    return run(case.deployment, case.workload, RooflineSource(), HostTime(), mode or Mode())


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("case", "routing"), RUNS)
def test_three_replicas_do_what_the_simulator_says(
    case: Case, routing: Routing, asynchronous: bool
) -> None:
    is_as_said(of_three(case, routing, asynchronous=asynchronous))


@pytest.mark.engine(name="vllm")
@pytest.mark.parametrize("routing", OTHERS)
@pytest.mark.parametrize("case", [CASES[0], CASES[5]], ids=lambda case: case.name)
def test_routers_see_the_same_queues_and_caches(case: Case, routing: Routing) -> None:
    is_as_said(of_three(case, routing))


def is_as_said(three: Case) -> None:
    ours = emulated(three).result
    theirs = simulate(three.deployment, three.workload, source=RooflineSource(), host=HostTime())
    for column in (field.name for field in fields(Records)):
        if column not in ("first_run", "last_run"):  # rows of the log: steps here, runs there
            found, said = getattr(ours.records, column), getattr(theirs.records, column)
            np.testing.assert_array_equal(found, said, column)
    assert ours.itl == theirs.itl
    assert ours.peak_blocks == theirs.peak_blocks
    assert len(ours.records) == len(three.workload)


@pytest.mark.engine(name="vllm")
def test_every_replica_has_its_batches_and_two_runs_are_equal() -> None:
    three = of_three(CASES[0], CENTRAL)
    runs = [emulated(three, Mode(log_batches=True)) for _ in range(2)]
    lines = [[line for log in each.batches for line in log.lines()] for each in runs]
    assert lines[0] == lines[1]
    assert len(lines[0]) == runs[0].steps
    assert {int(replica) for replica in runs[0].result.records.replica} == {0, 1, 2}


@pytest.mark.engine(name="vllm")
def test_a_replica_that_fails_ends_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    break_vllm(monkeypatch)
    with pytest.raises(ServecastError, match="vllm raised AssertionError: no such block"):
        emulated(of_three(CASES[2], CENTRAL))


@pytest.mark.engine(name="vllm")
def test_replicas_that_run_in_turns_have_no_flowing_clock() -> None:
    shared = of_three(Case("closed loop", PLAIN, closed_loop(burst(4, [40], [5]), 2, 0)), CENTRAL)
    with pytest.raises(UnsupportedError, match="3 replicas that share a queue or its clients"):
        emulated(shared, Mode(flow=1.0))


def test_the_cases_queue_and_leave_replicas_idle() -> None:
    def shares(case: Case) -> list[int]:
        three = of_three(case, CENTRAL)
        records = simulate(three.deployment, three.workload, source=RooflineSource()).records
        counts: list[int] = np.bincount(records.replica, minlength=3).tolist()
        return counts

    assert shares(CASES[0]) != [20, 20, 20]  # not what round robin would do
    assert min(shares(CASES[2])) > 0
    assert shares(CASES[4])[2] == 0
