"""transformers' schedulers by hand, on a clock where every step takes a millisecond."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from servecast.primitives.policy import TransformersSchedulerType
from servecast.simulator.engine import Engine
from servecast.simulator.records import Records
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.transformers_scheduler import TransformersScheduler
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000
ROOMY = SchedulerLimits(8, 32, 256, 64)
CRAMPED = SchedulerLimits(8, 256, 128, 8)
"""Blocks for two prompts of 60 tokens, and no more."""


def served(
    limits: SchedulerLimits,
    *arrivals: Arrival,
    scheduler_type: TransformersSchedulerType = "fifo",
    safety_margin: float | None = None,
    sharing: bool = False,
) -> Records:
    policy = partial(
        TransformersScheduler,
        scheduler_type=scheduler_type,
        safety_margin=safety_margin,
    )
    limits = replace(limits, enable_prefix_caching=sharing)
    engine = Engine(limits, ConstantStepCost(MS), policy=policy)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    engine.check()
    return records_of(engine)


def first_ms(records: Records) -> list[int]:
    return [int(ns) // MS for ns in records.first_token_ns]


def finish_ms(records: Records) -> list[int]:
    return [int(ns) // MS for ns in records.finish_ns]


def test_fifo_computes_a_prompt_with_what_decodes_leave_of_the_budget() -> None:
    records = served(ROOMY, Arrival(0, 0, 10, 5), Arrival(1, MS + 1, 96, 2))
    # 96 prompt tokens are 31 + 31 + 31 beside a decode, and 3.
    assert first_ms(records) == [1, 6]
    assert finish_ms(records) == [5, 7]


def test_prefill_first_lets_decodes_stand_still_once_a_prompt_has_begun() -> None:
    records = served(
        ROOMY,
        Arrival(0, 0, 10, 5),
        Arrival(1, MS + 1, 96, 2),
        scheduler_type="prefill_first",
    )
    # It begins behind the decode: 31, then 32 + 32 alone, then 1 beside it.
    assert first_ms(records) == [1, 6]
    assert finish_ms(records) == [7, 7]


def test_below_the_safety_margin_no_prompt_goes_beside_others() -> None:
    limits = SchedulerLimits(8, 256, 160, 10)
    arrivals = (Arrival(0, 0, 90, 3), Arrival(1, 0, 10, 3), Arrival(2, MS // 2, 10, 1))
    assert first_ms(served(limits, *arrivals, safety_margin=0.5)) == [1, 1, 4]
    assert first_ms(served(limits, *arrivals, safety_margin=0.1)) == [1, 1, 2]


def test_the_newest_starved_request_loses_its_blocks_and_nobody_is_let_in_before_one_ends() -> None:
    records = served(
        CRAMPED, Arrival(0, 0, 60, 20), Arrival(1, 0, 60, 20), Arrival(2, 6 * MS, 10, 1)
    )
    # Both have filled four blocks at 5 ms, with five tokens out; the second begins again at 20 ms.
    assert records.preemptions.tolist() == [0, 1, 0]
    assert finish_ms(records) == [20, 35, 21]


def test_blocks_kept_for_sharing_are_given_up_only_when_nothing_else_goes() -> None:
    arrivals = (Arrival(0, 0, 60, 20), Arrival(1, 0, 60, 20), Arrival(2, 6 * MS, 10, 1))
    # Four blocks of the first stay: the third has room at once, the second a step later.
    assert finish_ms(served(CRAMPED, *arrivals, sharing=True)) == [20, 36, 21]
