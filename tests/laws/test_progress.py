"""Law 12: an engine with work is never idle, and its loops of preemption always end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import SchedulerLimits
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of, run
from tests.scheduler_driver import SchedulerDriver
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, cases

COST = CompiledStepCost(DENSE, RooflineSource())
EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)


@EXAMPLES
@given(cases())
def test_no_time_passes_without_a_step_while_a_request_is_inside(case: Case) -> None:
    engine = run(case.limits, COST, case.arrivals)
    records, log = records_of(engine), engine.log
    starts = log.column("start_ns")
    ends = starts + log.column("duration_ns")
    for end_ns, start_ns in zip(ends[:-1], starts[1:], strict=True):
        if end_ns < start_ns:  # then nobody is there until someone arrives at the next start
            inside = (records.arrival_ns < start_ns) & (records.finish_ns > end_ns)
            assert not inside.any()
            assert start_ns in records.arrival_ns


@EXAMPLES
@given(cases())
def test_who_is_left_waiting_could_not_have_been_admitted(case: Case) -> None:
    driver, limits = SchedulerDriver(case.limits), case.limits
    for arrival in case.arrivals:
        driver.add(arrival.prompt_tokens, arrival.output_tokens)
    while driver.running or driver.waiting:
        tokens, scheduler = sum(driver.schedule().values()), driver.scheduler
        assert 0 < tokens <= limits.max_num_batched_tokens
        if scheduler.waiting and not driver.preempted:
            free = scheduler.blocks.free
            assert (
                tokens == limits.max_num_batched_tokens
                or len(scheduler.running) == limits.max_num_seqs
                or scheduler.blocks.blocks_for(scheduler.waiting[0].num_tokens) > free
            )
        driver.update()


@EXAMPLES
@given(cases())
def test_the_oldest_request_finishes_within_a_models_length_of_steps(case: Case) -> None:
    """The first admitted is never preempted and computes a token or more in every step.

    So between two completions, or since the engine was last empty, there are at most
    `max_model_len` steps, and as many preemptions as that times the requests running.
    """
    steps = ConstantStepCost(step_ns=1)  # time counts steps, and arrivals are at once
    engine = Engine(case.limits, steps)
    for arrival in case.arrivals:
        engine.submit(arrival._replace(arrival_ns=0).request(), 0)
    engine.advance(len(case.arrivals) * case.limits.max_model_len)
    assert engine.unfinished == 0
    records = records_of(engine)
    finishes = np.unique(np.append(records.finish_ns, 0)).tolist()
    assert all(
        later - earlier <= case.limits.max_model_len for earlier, later in pairwise(finishes)
    )
    assert records.preemptions.sum() <= engine.now_ns * case.limits.max_num_seqs


def test_a_cache_of_one_long_request_serves_many_one_after_another() -> None:
    """The harshest cache vLLM starts with: ten requests that each need the whole of it."""
    limits = SchedulerLimits(10, 64, 64, 4)
    arrivals = [Arrival(index, 0, 16, 48) for index in range(10)]
    engine = Engine(limits, ConstantStepCost(step_ns=1))
    for arrival in arrivals:
        engine.submit(arrival.request(), 0)
    engine.advance(10 * 64)
    assert engine.unfinished == 0
    assert records_of(engine).preemptions.sum() > 0


@pytest.mark.parametrize("prefixes", [False, True], ids=["no cache", "prefix cache"])
@pytest.mark.parametrize("kind", [Engine, AsyncEngine])
def test_a_cache_of_which_99_percent_are_held_goes_on(
    kind: type[Engine] | type[AsyncEngine], prefixes: bool
) -> None:
    """Many more requests than fit, all at once; with a prefix cache, one half begins alike.

    Who decodes beside a full cache takes others' blocks: the bound between two completions holds.
    """
    limits = SchedulerLimits(64, 512, 1024, 400, 16, enable_prefix_caching=prefixes)
    engine, requests = kind(limits, ConstantStepCost(step_ns=1)), 120
    for number in range(requests):
        known = ((0, 8), (100 + 20 * (number % 5), 8)) if number % 2 else ()
        output_tokens = 300 + number * 37 % 400
        engine.submit(Arrival(number, 0, 250 + number % 3, output_tokens, known).request(), 0)
    engine.advance(requests * limits.max_model_len)
    assert engine.unfinished == 0
    records, log = records_of(engine), engine.log
    pressed = log.column("blocks_used") >= 0.99 * limits.num_blocks
    assert log.column("steps")[pressed].sum() > log.column("steps").sum() / 2
    finishes = np.unique(np.append(records.finish_ns, 0)).tolist()
    longest = limits.max_model_len + (kind is AsyncEngine)
    assert all(later - earlier <= longest for earlier, later in pairwise(finishes))
    assert records.preemptions.sum() > requests
    assert (records.cached_tokens.sum() > 0) == prefixes
