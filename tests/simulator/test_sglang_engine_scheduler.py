"""SGLang's own policy, on a clock where every step takes a millisecond."""

from __future__ import annotations

from functools import partial

import pytest

from servecast.errors import InputError
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000
POOL = SchedulerLimits(8, 64, 100, 110, 1)


class Told(SglangEngineScheduler):
    """Tells what each pass decided: prompt tokens by request, or who was retracted."""

    def __init__(self, limits: SchedulerLimits, conservativeness: float) -> None:
        super().__init__(limits, conservativeness=conservativeness)
        self.told: list[dict[int, int] | list[int]] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, retracted = super().schedule()
        if chunks:
            self.told.append({chunk.request.index: chunk.new_tokens for chunk in chunks})
        elif retracted:
            self.told.append([request.index for request in retracted])
        return chunks, retracted


def served(
    limits: SchedulerLimits, *arrivals: Arrival, conservativeness: float = 1.0
) -> tuple[Engine, list[dict[int, int] | list[int]]]:
    """An engine that has served all, and what its passes decided beside decoding."""
    policy = partial(Told, conservativeness=conservativeness)
    engine = Engine(limits, ConstantStepCost(MS), policy=policy, stepping=True)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    engine.check()
    assert isinstance(engine.scheduler, Told)
    return engine, engine.scheduler.told


@pytest.mark.parametrize(
    ("declared", "conservativeness", "admitted_ms"), [(30, 1.0, 41), (20, 1.0, 2), (30, 0.5, 2)]
)
def test_seven_tenths_of_what_running_requests_may_yet_say_are_set_aside(
    declared: int, conservativeness: float, admitted_ms: int
) -> None:
    """At 2 ms 31 tokens are used and 39 to come: of 110, less than 52 are left, or than 66."""
    pair = Arrival(0, 0, 30, 41), Arrival(1, 2 * MS, 30, declared)
    engine, _ = served(POOL, *pair, conservativeness=conservativeness)
    assert (records_of(engine).scheduled_ns // MS).tolist() == [0, admitted_ms]


@pytest.mark.parametrize(("arrival_ms", "retracted"), [(9, [2]), (6, [1])])
def test_who_said_least_is_retracted_of_equals_who_has_the_longest_prompt(
    arrival_ms: int, retracted: list[int]
) -> None:
    """At 6 ms the third is computed before the second says its next token: both have said one."""
    pair = Arrival(0, 0, 20, 60), Arrival(1, 5 * MS, 20, 60)
    third = Arrival(2, arrival_ms * MS, 10, 40)
    _, told = served(POOL, *pair, third, conservativeness=0.01)
    assert next(each for each in told if isinstance(each, list)) == retracted


def test_the_retracted_are_computed_again_with_what_they_said() -> None:
    pair = Arrival(0, 0, 20, 60), Arrival(1, 5 * MS, 20, 60)
    engine, told = served(POOL, *pair, conservativeness=0.01)
    records = records_of(engine)
    assert records.preemptions.tolist() == [0, 1]
    # Together they hold 110 tokens after 37 more steps, when the second has said 34.
    assert told == [{0: 20}, {1: 20}, [1], {1: 54}]
    assert records.output_tokens.tolist() == [60, 60]


def test_a_prompt_of_several_chunks_is_cut_on_pages() -> None:
    limits = SchedulerLimits(8, 48, 128, 20, 16)
    _, told = served(limits, Arrival(0, 0, 20, 1), Arrival(1, 0, 90, 1))
    assert told == [{0: 20, 1: 16}, {1: 48}, {1: 26}]


def test_the_ratio_starts_again_after_a_rest() -> None:
    engine, _ = served(POOL, Arrival(0, 0, 10, 80))
    scheduler = engine.scheduler
    assert isinstance(scheduler, Told)
    second, third = Arrival(1, 500 * MS, 30, 41), Arrival(2, 502 * MS, 30, 30)
    for arrival in (second, third):
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(505 * MS)
    assert scheduler.told == [{0: 10}, {1: 30}], "as if nobody had been before"


def test_what_could_never_be_admitted_is_refused() -> None:
    scheduler = SglangEngineScheduler(POOL)
    scheduler.add_request(Request(0, 0, 108, 1, 1))
    with pytest.raises(InputError, match="a prompt of 109 tokens leaves no room"):
        scheduler.add_request(Request(1, 0, 109, 1, 1))
