"""SGLang's simple rules, on a clock where every step takes a millisecond."""

from __future__ import annotations

from functools import partial

from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.sglang_scheduler import SglangScheduler
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000


def served(limits: SchedulerLimits, *arrivals: Arrival, recv_interval: int = 1) -> Engine:
    policy = partial(SglangScheduler, recv_interval=recv_interval)
    engine = Engine(limits, ConstantStepCost(MS), policy=policy)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    engine.check()
    return engine


def gaps_ms(engine: Engine) -> list[int]:
    waits, counts = engine.log.inter_token_ns(ConstantStepCost(MS).decode_run)
    pairs = zip(waits.tolist(), counts.tolist(), strict=True)
    return sorted(wait // MS for wait, count in pairs for _ in range(count))


def test_decodes_stand_still_while_a_prompt_is_computed() -> None:
    limits = SchedulerLimits(8, 32, 256, 64)
    engine = served(limits, Arrival(0, 0, 10, 5), Arrival(1, 1 * MS + 1, 96, 2))
    records = records_of(engine)
    # 0: prompt to 1 ms, a token at 2 ms; three chunks of the other's prompt; then both together.
    assert (records.first_token_ns // MS).tolist() == [1, 5]
    assert (records.finish_ns // MS).tolist() == [8, 6]
    assert gaps_ms(engine) == [1, 1, 1, 1, 4]


def test_several_prompts_share_a_step_and_the_last_one_is_cut() -> None:
    limits = SchedulerLimits(8, 32, 256, 64)
    records = records_of(served(limits, *(Arrival(i, 0, 20, 1) for i in range(3))))
    assert (records.first_token_ns // MS).tolist() == [1, 2, 2]


def test_a_request_waits_until_all_it_may_hold_is_free() -> None:
    limits = SchedulerLimits(8, 256, 128, 8)
    engine = served(limits, Arrival(0, 0, 64, 32), Arrival(1, 0, 31, 1))
    records = records_of(engine)
    assert (records.scheduled_ns // MS).tolist() == [0, 0], "six blocks and two more are eight"
    engine = served(limits, Arrival(0, 0, 64, 32), Arrival(1, 0, 32, 1))
    assert (records_of(engine).scheduled_ns // MS).tolist() == [0, 32]


def test_a_request_comes_no_more_than_max_num_seqs_at_once() -> None:
    limits = SchedulerLimits(1, 256, 128, 64)
    engine = served(limits, Arrival(0, 0, 8, 3), Arrival(1, 0, 8, 3))
    assert (records_of(engine).finish_ns // MS).tolist() == [3, 6]


def test_requests_are_read_at_every_so_many_decode_steps_and_after_each_prompt() -> None:
    limits = SchedulerLimits(8, 32, 256, 64)
    arrivals = [Arrival(0, 0, 10, 40), Arrival(1, 2 * MS, 10, 1), Arrival(2, 3 * MS, 10, 1)]
    late = Arrival(3, 11 * MS + 1, 10, 1)
    engine = served(limits, *arrivals, late, recv_interval=10)
    # prompt of 0 to 1 ms, ten decode steps, then a poll finds 1 and 2; 3 came while they computed.
    assert (records_of(engine).scheduled_ns // MS).tolist() == [0, 11, 11, 12]


def test_an_idle_server_reads_at_once() -> None:
    limits = SchedulerLimits(8, 32, 256, 64)
    engine = served(limits, Arrival(0, 0, 10, 2), Arrival(1, 7 * MS, 10, 2), recv_interval=30)
    assert (records_of(engine).scheduled_ns // MS).tolist() == [0, 7]
