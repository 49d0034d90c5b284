"""Clients that wait for the request that theirs follows."""

from __future__ import annotations

import csv
import gzip
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Routing
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.search.traffic import Traffic
from servecast.simulator.result import Result
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay
from servecast.timewarp.arrivals import refuse_sessions
from servecast.traces.readers import read
from servecast.traces.reshape import closed_loop
from servecast.traces.sessions import Sessions
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.toy_deployments import WINDOWED

STEP_NS = 10
STEP = ConstantStepCost(STEP_NS)
ROUTINGS: tuple[Routing, ...] = ("round_robin", "central_queue", "sticky_sessions")
COST = CompiledStepCost(WINDOWED, RooflineSource())
LIMITS = SchedulerLimits(4, 64, 256, 64, 16)
EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None)


def waiting(
    follows: list[int],
    think_ns: list[int],
    prompts: list[int],
    outputs: list[int],
    arrival_ns: list[int] | None = None,
) -> Workload:
    count = len(follows)
    arrivals = np.array(arrival_ns or [0] * count, np.int64)
    prompt, output = np.array(prompts, np.int64), np.array(outputs, np.int64)
    sessions = Sessions(np.array(follows, np.int64), np.array(think_ns, np.int64))
    return Workload("w", arrivals, prompt, output, output, sessions=sessions)


def serve(workload: Workload, cost: StepCost = STEP, routing: Routing = "round_robin") -> Result:
    deployment = replace(WINDOWED, replicas=2, routing=routing, max_model_len=256)
    return replay(deployment, workload, LIMITS, cost)


@st.composite
def sessions(draw: st.DrawFn) -> Workload:
    """Chains and trees, some of whose later prompts are too long, as open or closed loop."""
    count = draw(st.integers(1, 24))
    follows = [draw(st.integers(-1, row - 1)) for row in range(count)]

    def lengths(most: int) -> list[int]:
        return draw(st.lists(st.integers(1, most), min_size=count, max_size=count))

    think_ns = [pause_ns - 1 for pause_ns in lengths(1 + draw(st.sampled_from((0, 40, 10**8))))]
    arrivals = [0 if draw(st.booleans()) else row * STEP_NS for row in range(count)]
    prompts = [1 if before < 0 else p for before, p in zip(follows, lengths(300), strict=True)]
    workload = waiting(follows, think_ns, prompts, lengths(60), sorted(arrivals))
    concurrency = draw(st.one_of(st.none(), st.integers(1, 5)))
    return workload if concurrency is None else closed_loop(workload, concurrency, 7)


def columns(result: Result) -> list[bytes]:
    records = result.records
    return [getattr(records, field.name).tobytes() for field in fields(records)]


def spans(workload: Workload, result: Result) -> list[tuple[int, int]]:
    """When each request is sent and when it is over: at once where it is rejected."""
    records = result.records
    times = zip(records.index, records.arrival_ns, records.finish_ns, strict=True)
    known = {int(index): (int(sent), int(over)) for index, sent, over in times}
    found: list[tuple[int, int]] = []
    for row in range(len(workload)):
        sent = due_ns(workload, row, found)
        found.append(known.get(row, (sent, sent)))
    return found


def due_ns(workload: Workload, row: int, before: list[tuple[int, int]]) -> int:
    assert workload.sessions is not None
    follows = int(workload.sessions.follows[row])
    if follows < 0:
        return int(workload.arrival_ns[row])
    return before[follows][1] + int(workload.sessions.think_ns[row])


def test_a_turn_comes_when_the_one_before_has_been_thought_over() -> None:
    """Steps of 10 ns, one for the prompt: 0 is over at 30, so 1 comes at 35 and is over at 55."""
    result = serve(waiting([-1, 0, 1], [0, 5, 0], [8, 8, 8], [3, 2, 1]))
    assert result.records.arrival_ns.tolist() == [0, 35, 55]
    assert result.records.finish_ns.tolist() == [30, 55, 65]
    assert not result.is_open_loop


def test_sub_agents_run_beside_the_agent_that_started_them() -> None:
    result = serve(waiting([-1, 0, 0, 1], [0, 0, 0, 100], [8] * 4, [1] * 4))
    assert result.records.arrival_ns.tolist() == [0, 10, 10, 120]


def test_a_session_goes_on_after_a_prompt_that_is_too_long() -> None:
    result = serve(waiting([-1, 0, 1], [0, 5, 7], [8, 300, 8], [1, 1, 1]))
    assert result.rejected.tolist() == [1]
    assert result.records.arrival_ns.tolist() == [0, 10 + 5 + 7]


def test_a_closed_loop_begins_a_session_when_one_is_over_and_thought_about() -> None:
    workload = waiting([-1, 0, -1, -1, 3], [0, 5, 0, 0, 0], [8] * 5, [1, 1, 4, 1, 1])
    result = serve(closed_loop(workload, 2, think_ns=100))
    assert result.records.arrival_ns.tolist() == [0, 15, 0, 125, 135]


def test_a_closed_loop_goes_on_after_a_session_that_is_rejected_whole() -> None:
    workload = waiting([-1, 0, -1], [0, 5, 0], [300, 300, 8], [1, 1, 1])
    result = serve(closed_loop(workload, 1, think_ns=100))
    assert result.rejected.tolist() == [0, 1]
    assert result.records.arrival_ns.tolist() == [105]


@EXAMPLES
@given(workload=sessions(), routing=st.sampled_from(ROUTINGS))
def test_every_request_is_served_or_rejected_once_and_none_before_its_time(
    workload: Workload, routing: Routing
) -> None:
    result = serve(workload, COST, routing)
    everyone = np.concatenate((result.records.index, result.rejected))
    assert sorted(everyone.tolist()) == list(range(len(workload)))
    assert workload.sessions is not None
    over = spans(workload, result)
    open_loop = workload.concurrency is None
    for row in range(len(workload)):
        if open_loop or workload.sessions.follows[row] >= 0:
            assert over[row][0] == due_ns(workload, row, over)


@EXAMPLES
@given(workload=sessions().filter(lambda workload: workload.concurrency is not None))
def test_a_closed_loop_has_no_more_sessions_under_way_than_it_says(workload: Workload) -> None:
    """Whoever is rejected at once is of no length and not counted."""
    result = serve(workload)
    assert workload.sessions is not None
    number = workload.sessions.numbers()[result.records.index]
    begun = [int(result.records.arrival_ns[number == each].min()) for each in np.unique(number)]
    ended = [int(result.records.finish_ns[number == each].max()) for each in np.unique(number)]
    for at_ns in begun:
        under_way = sum(start <= at_ns < end for start, end in zip(begun, ended, strict=True))
        assert under_way <= (workload.concurrency or 0)


@EXAMPLES
@given(workload=sessions())
def test_the_same_sessions_give_the_same_bytes(workload: Workload) -> None:
    assert columns(serve(workload)) == columns(serve(workload))


def test_an_agents_run_finds_in_the_cache_what_its_trace_says_that_it_repeats(
    data_dir: Path,
) -> None:
    """The first run of WEKA's, alone: `keep` blocks of 64 tokens of each prompt, and no more."""
    path = data_dir / "traces" / "weka_agentic_requests.csv.gz"
    with gzip.open(path, "rt") as text:
        kept = [int(row["keep"]) for row in islice(csv.DictReader(text), 41)]
    workload = read(path, limit=41)
    limits = SchedulerLimits(4, 8192, 200_000, 100_000, 16, enable_prefix_caching=True)
    deployment = replace(WINDOWED, max_model_len=200_000, enable_prefix_caching=True)
    records = replay(deployment, workload, limits, STEP).records
    assert len(records) == 41
    assert (records.cached_tokens == 64 * np.array(kept)).all()


def test_what_cannot_serve_sessions_refuses_them_by_name() -> None:
    workload = waiting([-1, 0], [0, 5], [8, 8], [1, 1])
    with pytest.raises(UnsupportedError, match="`w` has sessions, which are not emulated yet"):
        refuse_sessions(workload)
    with pytest.raises(UnsupportedError, match="`w` has sessions, which are not searched for"):
        Traffic.of(workload, 256)


@EXAMPLES
@given(workload=sessions())
def test_a_sticky_session_is_served_by_one_replica(workload: Workload) -> None:
    records = serve(workload, COST, "sticky_sessions").records
    assert workload.sessions is not None
    numbers = workload.sessions.numbers()[records.index]
    for number in set(numbers.tolist()):
        assert len(set(records.replica[numbers == number].tolist())) == 1
