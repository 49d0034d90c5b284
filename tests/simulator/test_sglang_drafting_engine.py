"""SGLang with drafts, on a clock where every step takes a millisecond."""

from __future__ import annotations

import dataclasses

import pytest

from servecast.errors import InputError
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.sglang_drafting_engine import SglangDraftingEngine
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of

MS = 1_000_000
ROOMY = SchedulerLimits(8, 64, 100, 400, 1)
ALL = Speculation("ngram", 3, (1.0, 1.0, 1.0))
NONE = Speculation("ngram", 3, (0.0, 0.0, 0.0))
AHEAD, BETWEEN = SglangPolicy(), SglangPolicy(disable_overlap_schedule=True)


def served(
    limits: SchedulerLimits, speculation: Speculation, policy: SglangPolicy, *arrivals: Arrival
) -> SglangDraftingEngine:
    """An engine that has served all."""
    engine = SglangDraftingEngine(limits, [ConstantStepCost(MS)], speculation, policy)
    for arrival in arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
        engine.check()
    engine.advance(None)
    engine.check()
    assert (engine.next_ns(), engine.unfinished, engine.scheduler.blocks.used) == (None, 0, 0)
    return engine


@pytest.mark.parametrize("policy", [AHEAD, BETWEEN])
def test_a_step_brings_the_accepted_drafts_and_one_more(policy: SglangPolicy) -> None:
    (all_ns,) = records_of(served(ROOMY, ALL, policy, Arrival(0, 0, 30, 13))).finish_ns.tolist()
    (none_ns,) = records_of(served(ROOMY, NONE, policy, Arrival(0, 0, 30, 13))).finish_ns.tolist()
    assert (all_ns, none_ns) == (4 * MS, 13 * MS)


def test_slots_for_two_steps_are_held_ahead() -> None:
    engine = served(ROOMY, NONE, BETWEEN, Arrival(0, 0, 30, 3))
    assert engine.peak_blocks == 30 + 1 + 2 * 4


def test_with_overlap_who_has_ended_is_computed_once_more() -> None:
    """Unless its unread token is the last one that its client allows."""
    allowed = served(ROOMY, ALL, AHEAD, Arrival(0, 0, 30, 1))
    ends = Request(0, 0, 30, 5, 60)
    told = SglangDraftingEngine(ROOMY, [ConstantStepCost(MS)], ALL, AHEAD)
    told.submit(ends, 0)
    told.advance(None)
    assert len(allowed.log) == 1
    assert len(told.log) == 3  # the prompt, its five tokens, and what nobody reads
    assert records_of(told).finish_ns.tolist() == [2 * MS]


def test_prompts_go_first_and_decodes_wait() -> None:
    late = Arrival(1, 2 * MS, 30, 1)
    engine = served(ROOMY, NONE, BETWEEN, Arrival(0, 0, 30, 5), late)
    assert records_of(engine).finish_ns.tolist() == [6 * MS, 3 * MS]


def test_who_has_said_least_is_retracted_and_says_it_again() -> None:
    tight = dataclasses.replace(ROOMY, num_blocks=90, max_model_len=90)
    trusting = SglangPolicy("fcfs", 0.1, disable_overlap_schedule=True)
    pair = Arrival(0, 0, 20, 40), Arrival(1, 5 * MS, 21, 20)
    engine = served(tight, NONE, trusting, *pair)
    assert records_of(engine).preemptions.tolist() == [0, 1]


def test_one_whose_slots_do_not_fit_even_alone_is_told() -> None:
    tight = dataclasses.replace(ROOMY, num_blocks=60, max_model_len=60)
    with pytest.raises(InputError, match="request 0 alone does not fit"):
        served(tight, NONE, AHEAD, Arrival(0, 0, 20, 36))
