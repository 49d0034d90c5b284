"""Laws 2 and 3: nothing happens before its cause, and time never runs back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from tests.driver import instants, records_of, run
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

COST = CompiledStepCost(WINDOWED, RooflineSource())
EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)

LEGAL = {
    ("new", "waiting"),
    ("new", "running"),
    ("waiting", "running"),
    ("running", "waiting"),
    ("running", "finished"),
}


@EXAMPLES
@given(cases())
def test_a_request_arrives_is_scheduled_speaks_and_finishes_in_this_order(case: Case) -> None:
    engine = run(case.limits, COST, case.arrivals)
    records = records_of(engine)
    assert (records.arrival_ns <= records.scheduled_ns).all()
    assert (records.scheduled_ns < records.first_token_ns).all()
    assert (records.first_token_ns <= records.finish_ns).all()
    speaks_again = records.output_tokens > 1
    assert ((records.first_token_ns < records.finish_ns) == speaks_again).all()
    waits, counts = engine.log.inter_token_ns(COST.decode_run)
    assert (waits > 0).all()
    assert counts.sum() == (records.output_tokens - 1).sum()


@EXAMPLES
@given(cases())
def test_runs_follow_one_another_and_do_not_overlap(case: Case) -> None:
    log = run(case.limits, COST, case.arrivals).log
    starts, durations = log.column("start_ns"), log.column("duration_ns")
    assert (durations > 0).all()
    assert (starts[1:] >= (starts + durations)[:-1]).all()


@EXAMPLES
@given(cases())
def test_the_rows_of_an_undisturbed_request_hold_its_tokens(case: Case) -> None:
    engine = run(case.limits, COST, case.arrivals)
    records, log = records_of(engine), engine.log
    ends = log.column("start_ns") + log.column("duration_ns")
    for row in np.flatnonzero(records.preemptions == 0).tolist():
        first, last = int(records.first_run[row]), int(records.last_run[row])
        assert ends[first - 1] == records.first_token_ns[row]
        assert ends[last] == records.finish_ns[row]
        assert log.column("steps")[first : last + 1].sum() == records.output_tokens[row] - 1


@EXAMPLES
@given(cases())
def test_the_clock_is_monotone_and_only_legal_transitions_happen(case: Case) -> None:
    engine = Engine(case.limits, COST)
    state = {arrival.number: "new" for arrival in case.arrivals}
    clock_ns = 0
    for start_ns, end_ns in instants(engine, case.arrivals):
        assert clock_ns <= start_ns < end_ns
        clock_ns = start_ns
        places = {
            "waiting": engine.scheduler.waiting,
            "running": engine.scheduler.running,
            "finished": engine.finished,
        }
        now = {request.index: place for place, held in places.items() for request in held}
        for index, place in now.items():
            before = state[index]
            assert before == place or (before, place) in LEGAL
        state.update(now)
