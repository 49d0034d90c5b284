"""The engine's clock, as traces one can check in the head: every step takes 10 ns."""

from __future__ import annotations

import pytest

from servecast.simulator.engine import Engine
from servecast.simulator.run_log import COLUMNS
from servecast.simulator.scheduler import SchedulerLimits
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of, run

STEP = ConstantStepCost(step_ns=10)
ROOMY = SchedulerLimits(
    max_num_seqs=8, max_num_batched_tokens=8, max_model_len=64, num_blocks=64, block_size=4
)


def limits(max_num_seqs: int = 8, num_blocks: int = 64, max_model_len: int = 64) -> SchedulerLimits:
    return SchedulerLimits(max_num_seqs, 8, max_model_len, num_blocks, block_size=4)


def log_of(engine: Engine, *columns: str) -> list[tuple[int, ...]]:
    return list(zip(*(engine.log.column(name).tolist() for name in columns), strict=True))


def times(engine: Engine) -> list[tuple[int, int, int]]:
    """(scheduled, first token, finish) of each request."""
    records = records_of(engine)
    columns = (records.scheduled_ns, records.first_token_ns, records.finish_ns)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_prompt_gives_the_first_token_and_each_step_another() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 3)])
    assert times(engine) == [(0, 10, 30)]


def test_a_request_of_one_token_is_done_with_its_prompt() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 1)])
    assert times(engine) == [(0, 10, 10)]
    assert log_of(engine, "steps", "sequences", "chunk_tokens") == [(1, 0, 5)]


def test_decode_steps_that_nothing_can_change_are_one_row_of_the_log() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 30)])
    rows = log_of(engine, *COLUMNS)
    prompt = (0, 10, 1, 0, 0, 0, 5, 2)  # one step from 0, no decoding, 5 tokens in 2 blocks
    decode = (10, 290, 29, 1, 5, 0, 0, 9)  # 29 steps of one from context 5, 34 tokens in 9 blocks
    assert rows == [prompt, decode]


def test_stepping_logs_the_same_step_by_step() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 4)], stepping=True)
    rows = log_of(engine, "start_ns", "steps", "context", "blocks_used")
    assert rows == [(0, 1, 0, 2), (10, 1, 5, 2), (20, 1, 6, 2), (30, 1, 7, 2)]


def test_a_prompt_longer_than_the_budget_takes_several_steps() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 20, 2)])
    assert log_of(engine, "chunk_tokens") == [(8,), (8,), (4,), (0,)]
    assert times(engine) == [(0, 30, 40)]


def test_an_idle_engine_starts_when_a_request_arrives() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 3, 5, 2), Arrival(1, 1007, 5, 2)])
    assert times(engine) == [(3, 13, 23), (1007, 1017, 1027)]


def test_an_arrival_within_a_step_is_seen_by_the_next() -> None:
    """Request 1 comes at 25: the step of 20 goes on, that of 30 computes its prompt."""
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 10), Arrival(1, 25, 5, 2)])
    assert times(engine) == [(0, 10, 100), (30, 40, 50)]
    assert log_of(engine, "start_ns", "steps", "sequences", "chunk_tokens") == [
        (0, 1, 0, 5),
        (10, 2, 1, 0),
        (30, 1, 1, 5),
        (40, 1, 2, 0),
        (50, 5, 1, 0),
    ]


def test_an_arrival_at_a_boundary_is_seen_by_the_step_that_starts_there() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 10), Arrival(1, 30, 5, 2)])
    assert times(engine)[1] == (30, 40, 50)


def test_simultaneous_arrivals_share_a_step() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 5, 3, 2), Arrival(1, 5, 3, 2)])
    assert times(engine) == [(5, 15, 25), (5, 15, 25)]


def test_a_full_engine_is_not_disturbed_by_arrivals() -> None:
    one_place = limits(max_num_seqs=1)
    engine = run(one_place, STEP, [Arrival(0, 0, 5, 10), Arrival(1, 25, 5, 2)])
    assert times(engine) == [(0, 10, 100), (100, 110, 120)]
    assert log_of(engine, "start_ns", "steps") == [(0, 1), (10, 9), (100, 1), (110, 1)]


def test_decoding_requests_leave_the_rest_of_the_budget_to_prompts() -> None:
    engine = run(ROOMY, STEP, [Arrival(0, 0, 5, 10), Arrival(1, 10, 20, 1)])
    assert log_of(engine, "start_ns", "sequences", "chunk_tokens") == [
        (0, 0, 5),
        (10, 1, 7),
        (20, 1, 7),
        (30, 1, 6),
        (40, 1, 0),
    ]


def test_the_last_admitted_is_preempted_and_its_tokens_are_computed_again() -> None:
    """Four blocks of four tokens; both requests want three.

    At 50 both hold two full blocks and have emitted 5 tokens. Request 1 gives its blocks back and
    waits until request 0 is done at 80; then 4 + 5 tokens are a prompt of two steps, and its sixth
    token comes out at 100, 50 after the fifth.
    """
    engine = run(
        limits(num_blocks=4, max_model_len=16), STEP, [Arrival(0, 0, 4, 8), Arrival(1, 0, 4, 8)]
    )
    assert times(engine) == [(0, 10, 80), (0, 10, 120)]
    assert records_of(engine).preemptions.tolist() == [0, 1]
    assert engine.log.stall_ns.tolist() == [50]
    assert log_of(engine, "start_ns", "steps", "sequences", "chunk_tokens", "blocks_used") == [
        (0, 1, 0, 8, 2),
        (10, 4, 2, 0, 4),
        (50, 1, 1, 0, 3),
        (60, 2, 1, 0, 3),
        (80, 1, 0, 8, 2),
        (90, 1, 0, 1, 3),
        (100, 2, 1, 0, 3),
    ]


def test_who_drives_the_engine_sees_plans_and_can_cut_them() -> None:
    engine = Engine(ROOMY, STEP)
    assert engine.next_ns() is None
    engine.submit(Arrival(0, 0, 5, 30).request(), 0)
    assert engine.next_ns() == 10
    engine.advance(10)
    assert engine.next_ns() == 300
    engine.advance(44)
    assert engine.now_ns == 10  # the run to 300 is only a plan
    engine.submit(Arrival(1, 44, 5, 1).request(), 44)
    assert engine.next_ns() == 50
    engine.advance(60)
    assert [request.index for request in engine.finished] == [1]
    assert engine.unfinished == 1
    engine.advance(None)
    assert (engine.now_ns, engine.unfinished, engine.next_ns()) == (300, 0, None)


def test_far_apart_every_request_takes_as_long_as_alone() -> None:
    alone = records_of(run(ROOMY, STEP, [Arrival(0, 0, 20, 9)])).e2e_ns.tolist()
    apart = [Arrival(index, index * 10_000, 20, 9) for index in range(5)]
    assert records_of(run(ROOMY, STEP, apart)).e2e_ns.tolist() == alone * 5


@pytest.mark.parametrize(("setting", "checks"), [("1", True), ("0", False), (None, False)])
def test_invariants_are_checked_after_every_run_where_asked_for(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, checks: bool
) -> None:
    if setting is None:
        monkeypatch.delenv("SERVECAST_CHECK", raising=False)
    else:
        monkeypatch.setenv("SERVECAST_CHECK", setting)
    engine = Engine(ROOMY, STEP)
    engine.submit(Arrival(0, 0, 5, 3).request(), 0)
    engine.scheduler.blocks.release(1)  # a block that nobody held
    if checks:
        with pytest.raises(AssertionError, match="64 blocks"):
            engine.advance(None)
    else:
        engine.advance(None)


def test_a_lost_request_is_found() -> None:
    engine = Engine(ROOMY, STEP)
    engine.submit(Arrival(0, 0, 5, 3).request(), 0)
    engine.check()
    engine.scheduler.waiting.clear()
    with pytest.raises(AssertionError, match="1 unfinished requests, 0 held"):
        engine.check()


def test_a_run_of_no_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that allows none would keep the engine at the same instant for ever."""

    def none(at_most: int) -> int:
        return 0

    engine = Engine(ROOMY, STEP)
    engine.submit(Arrival(0, 0, 5, 3).request(), 0)
    monkeypatch.setattr(engine.scheduler, "horizon", none)
    with pytest.raises(AssertionError, match="a run of no steps"):
        engine.advance(None)
