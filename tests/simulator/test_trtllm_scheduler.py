"""TensorRT-LLM's simple rules, on a clock where every step takes a millisecond."""

from __future__ import annotations

from functools import partial

import pytest

from servecast.errors import InputError
from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.trtllm_scheduler import BatchWait, TrtllmScheduler
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000


def served(
    limits: SchedulerLimits, *arrivals: Arrival, wait: BatchWait | None = None
) -> dict[str, list[int]]:
    policy = partial(TrtllmScheduler, batch_wait=wait)
    engine = Engine(limits, ConstantStepCost(MS), policy=policy)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)
    engine.check()
    records = records_of(engine)
    return {
        "scheduled": (records.scheduled_ns // MS).tolist(),
        "finish": (records.finish_ns // MS).tolist(),
    }


def test_a_prompt_is_computed_in_whole_beside_the_decodes() -> None:
    limits = SchedulerLimits(8, 101, 128, 64)
    times = served(limits, Arrival(0, 0, 20, 10), Arrival(1, 1 * MS + 1, 100, 2))
    assert times == {"scheduled": [0, 2], "finish": [10, 4]}


def test_a_prompt_that_does_not_fit_beside_others_waits_for_the_next_step() -> None:
    limits = SchedulerLimits(8, 100, 128, 64)
    times = served(limits, Arrival(0, 0, 60, 1), Arrival(1, 0, 60, 1), Arrival(2, 0, 40, 1))
    assert times["scheduled"] == [0, 1, 1]


def test_a_prompt_above_max_num_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="120 tokens exceeds max_num_tokens 100"):
        served(SchedulerLimits(8, 100, 128, 64), Arrival(0, 0, 120, 1))


def test_a_prompt_is_cut_to_whole_blocks_where_that_is_allowed() -> None:
    """Of 50 tokens a step the second prompt gets 2 blocks, then the rest beside the decode."""
    cutting = partial(TrtllmScheduler, chunked_context=True)
    engine = Engine(SchedulerLimits(8, 50, 128, 64), ConstantStepCost(MS), policy=cutting)
    for arrival in (Arrival(0, 0, 10, 3), Arrival(1, 0, 60, 1)):
        engine.submit(arrival.request(), 0)
    engine.advance(None)
    assert engine.log.column("chunk_tokens").tolist() == [42, 28, 0]


def test_nobody_is_evicted_because_the_whole_output_is_reserved() -> None:
    limits = SchedulerLimits(8, 100, 128, 8)
    times = served(limits, Arrival(0, 0, 16, 48), Arrival(1, 0, 16, 64))
    assert times["scheduled"] == [0, 48], "4 and 5 blocks of 16 tokens do not fit into 8"


def test_prompts_beside_decodes_are_held_back_until_there_are_enough_or_time_is_up() -> None:
    limits, wait = SchedulerLimits(8, 100, 128, 64), BatchWait(0.5, 6)
    alone = served(limits, Arrival(0, 0, 20, 40), Arrival(1, 5, 20, 2), wait=wait)
    assert alone["scheduled"] == [0, 7]
    joined = served(
        limits, Arrival(0, 0, 20, 40), Arrival(1, 5, 20, 2), Arrival(2, 3 * MS, 40, 2), wait=wait
    )
    assert joined["scheduled"] == [0, 3, 3]


def test_prompts_are_not_held_back_any_longer_where_enough_wait() -> None:
    limits, wait = SchedulerLimits(8, 100, 128, 64), BatchWait(1.0, 20, enough_requests=2)
    first, second = Arrival(0, 0, 20, 60), Arrival(1, 5, 20, 2)
    assert served(limits, first, second, wait=wait)["scheduled"] == [0, 21]
    third = Arrival(2, 3 * MS, 20, 2)
    assert served(limits, first, second, third, wait=wait)["scheduled"] == [0, 3, 3]
