"""The engine that takes every step, where the outcome can be told by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from servecast.primitives.dtype import Dtype
from servecast.primitives.speculation import DraftModel, Speculation
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from tests.constant_cost import ConstantStepCost
from tests.toy_deployments import DENSE

MS = 1_000_000
ROOMY = SchedulerLimits(8, 64, 256, 400)


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("SERVECAST_CHECK", "1")


def request(index: int, prompt: int, output: int, priority: int = 0, at_ms: int = 0) -> Request:
    made = Request(index, at_ms * MS, prompt, output, output)
    made.priority = priority
    return made


def served(
    requests: Sequence[Request],
    options: SteppedOptions,
    limits: SchedulerLimits = ROOMY,
    stages_ms: Sequence[int] = (1,),
) -> tuple[SteppedEngine, Records]:
    stages = [ConstantStepCost(ms * MS) for ms in stages_ms]
    engine = SteppedEngine(limits, stages, options=options)
    for each in requests:
        engine.advance(each.arrival_ns)
        engine.submit(each, each.arrival_ns)
    engine.advance(None)
    return engine, merge([engine.recorder])


def ms(column: Sequence[int]) -> list[float]:
    return [ns / MS for ns in column]


def test_a_token_passes_all_stages_before_the_next_one() -> None:
    options = SteppedOptions(pipeline_parallel_size=3)
    _, found = served([request(0, 10, 5)], options, stages_ms=(1, 2, 3))
    assert ms(found.finish_ns.tolist()) == [5 * 6]


def test_chunks_of_one_prompt_follow_each_other_through_the_stages() -> None:
    options = SteppedOptions(pipeline_parallel_size=2)
    _, found = served([request(0, 3 * 64, 1)], options, stages_ms=(4, 4))
    assert ms(found.finish_ns.tolist()) == [4 + 3 * 4]


def test_two_batches_decode_by_turns_and_neither_waits_for_the_other() -> None:
    options = SteppedOptions(pipeline_parallel_size=2)
    apart = [request(0, 64, 20), request(1, 64, 20)]  # each prompt fills a step
    engine, found = served(apart, options, stages_ms=(4, 4))
    assert ms(found.finish_ns.tolist()) == [20 * 8, 4 + 20 * 8]
    assert engine.log.column("sequences").max() == 1


def test_a_loop_that_waits_for_a_batch_sees_nobody_meanwhile() -> None:
    options = SteppedOptions(pipeline_parallel_size=2)
    late = [request(0, 10, 20), request(1, 10, 20, at_ms=1)]
    _, found = served(late, options, stages_ms=(4, 4))
    assert ms(found.scheduled_ns.tolist()) == [0, 8]


def test_accepted_drafts_come_out_with_the_token_after_them() -> None:
    always = Speculation("ngram", 3, (1.0, 1.0, 1.0))
    engine, found = served([request(0, 10, 13)], SteppedOptions(speculation=always))
    assert ms(found.finish_ns.tolist()) == [1 + 12 / 4]
    waits, counts = engine.log.inter_token_ns(ConstantStepCost(MS).decode_run)
    assert dict(zip(waits.tolist(), counts.tolist(), strict=True)) == {0: 9, MS: 3}


def test_rejected_drafts_are_taken_back() -> None:
    never = Speculation("ngram", 3, (0.0, 0.0, 0.0))
    engine, found = served([request(0, 10, 13)], SteppedOptions(speculation=never))
    assert ms(found.finish_ns.tolist()) == [13]
    assert engine.blocks.peak_used == 2  # of 26 tokens at most, drafts included
    assert engine.blocks.used == 0


def test_a_draft_model_has_its_own_place_in_a_step() -> None:
    drafts = Speculation("draft_model", 2, (1.0, 1.0), DraftModel(DENSE.model, Dtype.BF16))
    crowd = [request(index, 20, 1) for index in range(3)]
    one, _ = served(crowd, SteppedOptions(speculation=drafts), SchedulerLimits(8, 61, 64, 40))
    all_fit, _ = served(crowd, SteppedOptions(), SchedulerLimits(8, 61, 64, 40))
    assert len(one.log) == 2  # 3 x (20 + 1) is more than 61
    assert len(all_fit.log) == 1


def test_the_least_urgent_gives_way_and_the_most_urgent_begins_first() -> None:
    cramped = SchedulerLimits(2, 64, 96, 6)
    asked = [request(0, 40, 40, priority=0), request(1, 40, 40, priority=-1, at_ms=2)]
    _, by_priority = served(asked, SteppedOptions(scheduling_policy="priority"), cramped)
    assert by_priority.preemptions.tolist() == [1, 0]
    asked = [request(0, 40, 40, priority=0), request(1, 40, 40, priority=-1, at_ms=2)]
    _, in_turn = served(asked, SteppedOptions(), cramped)
    assert in_turn.preemptions.tolist() == [0, 1]


def test_a_long_prompt_goes_by_the_piece_while_others_are_there() -> None:
    options = SteppedOptions(long_prefill_token_threshold=16)
    _, alone = served([request(0, 64, 1)], options)
    assert ms(alone.finish_ns.tolist()) == [1]
    _, two = served([request(0, 64, 1), request(1, 8, 1)], options)
    assert ms(two.finish_ns.tolist()) == [1 + 1, 1]  # alone again, it takes all of a step


def test_a_fair_share_of_the_step_may_exceed_the_piece() -> None:
    options = SteppedOptions(
        long_prefill_token_threshold=16, long_prefill_token_threshold_adaptive=True
    )
    _, two = served([request(0, 32, 1), request(1, 32, 1)], options)
    assert ms(two.finish_ns.tolist()) == [1, 1]


def test_who_schedules_ahead_computes_once_more_what_has_ended() -> None:
    open_ended = Request(0, 0, 10, 5, 50)
    engine, found = served([open_ended], SteppedOptions(async_scheduling=True))
    assert ms(found.finish_ns.tolist()) == [5]
    assert len(engine.log) == 6
    assert engine.now_ns == 6 * MS
    foreseen, _ = served([request(0, 10, 5)], SteppedOptions(async_scheduling=True))
    assert len(foreseen.log) == 5


def test_nothing_ends_before_the_moment_that_was_named() -> None:
    engine = SteppedEngine(ROOMY, [ConstantStepCost(MS)])
    assert engine.next_ns() is None
    engine.submit(request(0, 10, 3), 0)
    assert engine.next_ns() == MS
    engine.advance(MS - 1)
    assert (len(engine.log), engine.outstanding, engine.places) == (0, 1, 8)
    engine.advance(3 * MS, to_finish=True)
    assert (len(engine.log), engine.unfinished, len(engine.finished)) == (3, 0, 1)
