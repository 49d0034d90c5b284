"""Law 1: no request and no token is lost or made, at any time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload
from tests.driver import instants
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, cases

COST = CompiledStepCost(DENSE, RooflineSource())
EXAMPLES = settings(max_examples=60, derandomize=True, deadline=None)


def tokens_logged(engine: Engine) -> int:
    """Tokens that came out by the run log: of decode steps, prompts and recomputed prompts."""
    decoded = int((engine.log.column("steps") * engine.log.column("sequences")).sum())
    everyone = [*engine.scheduler.waiting, *engine.scheduler.running, *engine.finished]
    first = sum(request.first_token_ns is not None for request in everyone)
    return decoded + first + len(engine.log.stall_ns)


def emitted(engine: Engine, request: Request) -> int:
    """Tokens of a request; while it decodes, its own count is behind the group's."""
    behind = 0
    if request.decode_end:
        behind = request.base + engine.scheduler.group.steps - request.num_computed_tokens
    return request.emitted + behind


@EXAMPLES
@given(case=cases(), data=st.data())
def test_at_any_time_every_request_is_in_one_place_and_every_token_has_an_owner(
    case: Case, data: st.DataObject
) -> None:
    engine = Engine(case.limits, COST)
    times = st.lists(st.integers(0, 3_000_000_000), max_size=8)
    looks = sorted({*data.draw(times), *(arrival.arrival_ns for arrival in case.arrivals)})
    coming = list(case.arrivals)
    for now_ns in [*looks, None]:
        engine.advance(now_ns)
        engine.check()
        while now_ns is not None and coming and coming[0].arrival_ns == now_ns:
            engine.submit(coming.pop(0).request(), now_ns)
            engine.check()
        held = [*engine.scheduler.waiting, *engine.scheduler.running]
        seen = [request.index for request in [*held, *engine.finished]]
        assert sorted(seen) == list(range(len(case.arrivals) - len(coming)))
        finished = sum(request.output_tokens for request in engine.finished)
        assert tokens_logged(engine) == finished + sum(emitted(engine, r) for r in held)
    assert len(engine.finished) == len(case.arrivals)


@EXAMPLES
@given(cases())
def test_between_events_the_counts_of_requests_add_up(case: Case) -> None:
    engine = Engine(case.limits, COST)
    for start_ns, _ in instants(engine, case.arrivals):
        arrived = sum(arrival.arrival_ns <= start_ns for arrival in case.arrivals)
        queued, running = len(engine.scheduler.waiting), len(engine.scheduler.running)
        assert queued + running == engine.unfinished == arrived - len(engine.finished)
        assert all(request.emitted == request.output_tokens for request in engine.finished)


def test_rejected_and_truncated_requests_are_counted() -> None:
    """Model length 100: a prompt of 100 or more leaves no room for a token."""
    prompts = np.array([10, 99, 100, 101, 5000, 60, 60, 1])
    outputs = np.array([5, 50, 5, 5, 5, 40, 41, 9])
    allowed = np.array([5, 50, 5, 5, 5, 40, 41, 4])
    workload = Workload("mixed", np.arange(8) * 1000, prompts, outputs, allowed)
    result = simulate(replace(DENSE, max_model_len=100), workload)
    assert result.rejected.tolist() == [2, 3, 4]
    assert result.records.index.tolist() == [0, 1, 5, 6, 7]
    assert len(result.records) + len(result.rejected) == result.arrived == 8
    assert result.records.output_tokens.tolist() == [5, 1, 40, 40, 4]
    assert result.truncated == 3
    logged = (result.logs[0].column("steps") * result.logs[0].column("sequences")).sum()
    assert result.output_tokens == int(logged) + len(result.records)
