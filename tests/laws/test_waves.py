"""Laws of data-parallel ranks in waves, beside plain engines of the same step cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.primitives.wave_cost import WaveCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.records import COLUMNS, Records, merge
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.wave_engine import WaveEngine
from servecast.simulator.wave_rank import Stop
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import Case, cases

COSTS = {
    "full attention": CompiledStepCost(DENSE, RooflineSource()),
    "sliding windows": CompiledStepCost(WINDOWED, RooflineSource()),
}
EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None, print_blob=True)


@dataclass(frozen=True)
class Barrier:
    """Ranks that exchange nothing, and wait for the slowest."""

    rank: StepCost
    slowdown: float = 1.0

    def step(self, batches: Sequence[Batch]) -> StepTime:
        times = [self.rank.step(batch) for batch in batches if batch.groups]
        slowest = max((time.device_ns for time in times), default=0)
        device_ns = round(slowest * self.slowdown)
        return StepTime(device_ns, max((time.host_ns for time in times), default=0))


def at_once(case: Case) -> Case:
    """All requests at the start, so that no rank is idle before its end."""
    return replace(case, arrivals=tuple(each._replace(arrival_ns=0) for each in case.arrivals))


def copied(case: Case, copies: int) -> Case:
    """Each request several times at once."""
    arrivals = tuple(
        each._replace(number=each.number * copies + copy)
        for each in case.arrivals
        for copy in range(copies)
    )
    return replace(case, arrivals=arrivals)


def served(engine: AnyEngine, case: Case) -> Records:
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    assert engine.unfinished == 0
    return merge([engine.recorder])


def watched(engine: AnyEngine, case: Case) -> Records:
    """As a cluster does that is told of each completion."""
    coming = list(case.arrivals)[::-1]
    now_ns = 0
    while True:
        engine.advance(now_ns)
        while coming and coming[-1].arrival_ns <= now_ns:
            engine.submit(coming.pop().request(), now_ns)
        ends = (engine.next_ns(), coming[-1].arrival_ns if coming else None)
        known = [end_ns for end_ns in ends if end_ns is not None]
        if not known:
            return merge([engine.recorder])
        now_ns = min(known)


def assert_same(ours: Records, theirs: Records, *but: str) -> None:
    for column in COLUMNS:
        if column not in ("first_run", "last_run", *but):
            np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column), column)


def wave(case: Case, cost: WaveCost, ranks: int, *, ahead: bool) -> WaveEngine:
    return WaveEngine(case.limits, cost, ranks, options=SteppedOptions(async_scheduling=ahead))


def plain(case: Case, cost: StepCost, *, ahead: bool) -> SteppedEngine:
    return SteppedEngine(case.limits, [cost], options=SteppedOptions(async_scheduling=ahead))


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@pytest.mark.parametrize("name", COSTS)
@given(case=cases(prefixes=True))
@EXAMPLES
def test_one_rank_that_is_never_idle_is_a_plain_engine(name: str, ahead: bool, case: Case) -> None:
    case, cost = at_once(case), COSTS[name]
    ours, theirs = wave(case, Barrier(cost), 1, ahead=ahead), plain(case, cost, ahead=ahead)
    assert_same(served(ours, case), served(theirs, case))
    assert ours.peak_blocks == theirs.peak_blocks
    pools = [engine.log.inter_token_ns(cost.decode_run) for engine in (ours, theirs)]
    np.testing.assert_array_equal(pools[0], pools[1])


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@given(case=cases(max_requests=12), ranks=st.integers(2, 4))
@EXAMPLES
def test_equal_load_without_exchanges_is_that_of_independent_replicas(
    ahead: bool, case: Case, ranks: int
) -> None:
    case, cost = at_once(case), COSTS["full attention"]
    together = served(
        wave(copied(case, ranks), Barrier(cost), ranks, ahead=ahead), copied(case, ranks)
    )
    alone = served(plain(case, cost, ahead=ahead), case)
    for copy in range(ranks):
        assert_same(together.rows(slice(copy, None, ranks)), alone, "index")


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@given(case=cases(max_requests=12), ranks=st.integers(2, 4))
@EXAMPLES
def test_equal_load_is_that_of_one_rank_whenever_it_comes(
    ahead: bool, case: Case, ranks: int
) -> None:
    cost = Barrier(COSTS["full attention"])
    together = served(wave(case, cost, ranks, ahead=ahead), copied(case, ranks))
    alone = served(wave(case, cost, 1, ahead=ahead), case)
    for copy in range(ranks):
        assert_same(together.rows(slice(copy, None, ranks)), alone, "index")


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@given(case=cases(), ranks=st.integers(1, 4))
@EXAMPLES
def test_it_does_not_matter_how_often_somebody_looks(ahead: bool, case: Case, ranks: int) -> None:
    cost = Barrier(COSTS["full attention"])
    rarely = served(wave(case, cost, ranks, ahead=ahead), case)
    often = watched(wave(case, cost, ranks, ahead=ahead), case)
    assert_same(rarely, often)


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
@given(case=cases(prefixes=True), ranks=st.integers(1, 4))
@EXAMPLES
def test_nobody_is_lost_and_every_block_comes_back(ahead: bool, case: Case, ranks: int) -> None:
    engine = wave(case, Barrier(COSTS["full attention"]), ranks, ahead=ahead)
    records = served(engine, case)
    assert records.index.tolist() == [arrival.number for arrival in case.arrivals]
    assert records.output_tokens.tolist() == [each.output_tokens for each in case.arrivals]
    assert np.all(records.first_token_ns > records.arrival_ns)
    assert np.all(records.scheduled_ns >= records.arrival_ns)
    assert np.all(records.finish_ns >= records.first_token_ns)
    assert [rank.blocks.used for rank in engine.ranks] == [0] * ranks
    assert all(rank.wait is Stop.IDLE for rank in engine.ranks)


@given(case=cases(), ranks=st.integers(1, 4), factor=st.floats(1.0, 3.0))
@EXAMPLES
def test_a_load_that_is_more_uneven_ends_no_request_earlier(
    case: Case, ranks: int, factor: float
) -> None:
    """The slowest rank's experts hold everybody up; what is scheduled does not change."""
    case, cost = at_once(case), COSTS["full attention"]
    even = served(wave(case, Barrier(cost), ranks, ahead=False), case)
    uneven = served(wave(case, Barrier(cost, factor), ranks, ahead=False), case)
    assert np.all(uneven.finish_ns >= even.finish_ns)
    assert np.all(uneven.first_token_ns >= even.first_token_ns)
