"""Data-parallel ranks that step together, at costs one can compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.step_cost import StepCost
from servecast.simulator.records import Records, merge
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.wave_engine import WaveEngine
from servecast.simulator.wave_rank import DP_SYNC_INTERVAL
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival

STEP_NS, MODEL_LEN = 1000, 256
LIMITS = SchedulerLimits(4, 64, MODEL_LEN, 64, 16)


class Clockwork:
    """Every step of all ranks takes as long, whatever they compute."""

    def __init__(self) -> None:
        self.batches: list[list[Batch]] = []

    @property
    def rank(self) -> StepCost:
        return ConstantStepCost(STEP_NS)

    def step(self, batches: Sequence[Batch]) -> StepTime:
        self.batches.append(list(batches))
        return StepTime(STEP_NS, 0)


def served(
    arrivals: Sequence[Arrival], ranks: int = 2, *, ahead: bool = False
) -> tuple[WaveEngine, Clockwork, Records]:
    cost = Clockwork()
    options = SteppedOptions(async_scheduling=ahead)
    engine = WaveEngine(LIMITS, cost, ranks, 3, options=options)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    return engine, cost, merge([engine.recorder])


def test_a_rank_without_requests_runs_dummies_until_all_have_agreed() -> None:
    """Five steps of work; the next agreement is behind the sixteenth."""
    _, cost, records = served([Arrival(0, 0, 10, 5)])
    assert records.finish_ns.tolist() == [5 * STEP_NS]
    assert len(cost.batches) == DP_SYNC_INTERVAL
    assert [bool(mine.groups) for mine, _ in cost.batches] == [True] * 5 + [False] * 11
    assert not any(other.groups for _, other in cost.batches)


def test_a_request_of_one_step_ends_its_wave_at_once() -> None:
    """All agree behind a wave's first step too."""
    _, cost, _ = served([Arrival(0, 0, 10, 1)])
    assert len(cost.batches) == 1


@pytest.mark.parametrize(
    ("arrival_ns", "seen_step"), [(500, 1), (1500, 3), (2500, 4), (15_500, 16)]
)
def test_an_idle_rank_sees_who_comes_a_step_later_than_a_busy_one(
    arrival_ns: int, seen_step: int
) -> None:
    """It launches its part of the next step, a dummy, when this one begins; but behind an agreement
    (the first step, the sixteenth) all look at once."""
    busy = Arrival(0, 0, 10, 40)
    _, _, records = served([busy, Arrival(1, arrival_ns, 10, 3)])
    assert records.scheduled_ns[1] == seen_step * STEP_NS


def test_a_busy_rank_sees_who_comes_at_its_next_step() -> None:
    both = [Arrival(0, 0, 10, 40), Arrival(1, 0, 10, 40)]
    _, _, records = served([*both, Arrival(2, 2500, 10, 3)])
    assert records.scheduled_ns[2] == 3 * STEP_NS


def test_who_comes_among_dummies_waits_for_the_one_launched_already_too() -> None:
    _, _, records = served([Arrival(0, 0, 10, 5), Arrival(1, 7_300, 10, 2)])
    assert records.scheduled_ns[1] == 9 * STEP_NS


def test_who_comes_when_all_is_over_begins_a_wave() -> None:
    engine, cost, records = served([Arrival(0, 0, 10, 5), Arrival(1, 50_000, 10, 2)])
    assert records.scheduled_ns[1] == 50_000
    assert len(cost.batches) == 2 * DP_SYNC_INTERVAL
    assert engine.next_ns() is None


def test_every_step_of_all_ranks_is_a_row_dummies_included() -> None:
    engine, cost, _ = served([Arrival(0, 0, 30, 5), Arrival(1, 0, 20, 3)])
    log = engine.log
    assert len(log) == len(cost.batches) == DP_SYNC_INTERVAL
    assert log.column("chunk_tokens").tolist()[:2] == [50, 0]
    assert log.column("sequences").tolist()[:6] == [0, 2, 2, 1, 1, 0]
    assert log.column("blocks_used").tolist()[:6] == [2, 2, 2, 3, 0, 0]


def test_the_log_of_ranks_that_schedule_ahead_is_in_order() -> None:
    engine, cost, records = served([Arrival(0, 0, 30, 50), Arrival(1, 2_500, 20, 30)], ahead=True)
    starts = engine.log.column("start_ns").tolist()
    assert starts == sorted(starts)
    assert len(starts) == len(cost.batches)
    assert records.last_run.max() < len(starts)


def test_it_is_as_large_as_its_ranks_together() -> None:
    engine = WaveEngine(LIMITS, Clockwork(), 3, 7, options=SteppedOptions())
    assert (engine.number, engine.places, engine.outstanding) == (7, 12, 0)
    for number in range(6):
        engine.submit(Arrival(number, 0, 100, 5).request(), 0)
    assert (engine.outstanding, engine.waiting) == (6, 6)
    assert engine.next_ns() == STEP_NS
    assert engine.waiting == 6 - 3  # a rank's step has 64 tokens: its first prompt fills it
    assert engine.kv_used(0) > 0
