"""The oracle boundary of law 14: what a request will emit decides nothing before it has emitted it.

Two workloads that differ only in how much each request has still to say at some moment must be
served alike up to that moment.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.records import Records
from servecast.simulator.request import Request
from servecast.simulator.run_log import COLUMNS
from servecast.simulator.scheduler import SchedulerLimits
from tests.driver import records_of
from tests.scheduler_driver import SchedulerDriver
from tests.toy_deployments import WINDOWED
from tests.workload_cases import Case, cases

COST = CompiledStepCost(WINDOWED, RooflineSource())
EXAMPLES = settings(max_examples=100, derandomize=True, deadline=None)


def requests_of(case: Case, outputs: dict[int, int]) -> list[Request]:
    """Requests whose clients all declare the same, whatever they will really emit."""
    length = case.limits.max_model_len
    return [
        Request(
            each.number,
            each.arrival_ns,
            each.prompt_tokens,
            outputs[each.number],
            length - each.prompt_tokens,
            known=each.known,
        )
        for each in case.arrivals
    ]


def serve(case: Case, requests: list[Request], until_ns: int | None, *, stepping: bool) -> Engine:
    """An engine that has committed what ends at or before `until_ns`."""
    engine = Engine(case.limits, COST, stepping=stepping)
    for request in requests:
        if until_ns is None or request.arrival_ns <= until_ns:
            engine.advance(request.arrival_ns)
            engine.submit(request, request.arrival_ns)
    engine.advance(until_ns)
    return engine


def emitted(engine: Engine, request: Request) -> int:
    """Tokens that have come out of a request."""
    if not request.decode_end:
        return request.emitted
    return request.base + engine.scheduler.group.steps + 1 - request.prompt_tokens


def decided(engine: Engine) -> tuple[object, ...]:
    """All that a stepping engine has done and where everyone stands."""
    scheduler = engine.scheduler
    return (
        {name: engine.log.column(name).tolist() for name in COLUMNS},
        [request.index for request in scheduler.running],
        [request.index for request in scheduler.waiting],
        [request.index for request in engine.finished],
        scheduler.blocks.free,
    )


def seen_by(now_ns: int, records: Records) -> list[tuple[int, ...]]:
    """What records say of the time until `now_ns`; what is later is not seen."""
    columns = (records.scheduled_ns, records.first_token_ns, records.finish_ns)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [tuple(time_ns if time_ns <= now_ns else 0 for time_ns in row) for row in rows]


@EXAMPLES
@given(case=st.one_of(cases(), cases(prefixes=True)), share=st.floats(0, 1), data=st.data())
def test_other_futures_have_the_same_past(case: Case, share: float, data: st.DataObject) -> None:
    outputs = {arrival.number: arrival.output_tokens for arrival in case.arrivals}
    whole = serve(case, requests_of(case, outputs), None, stepping=False)
    now_ns = int(share * whole.now_ns)
    present = requests_of(case, outputs)
    engine = serve(case, present, now_ns, stepping=True)
    others = dict(outputs)
    for request in present:
        said = emitted(engine, request)
        if said < request.output_tokens:
            room = case.limits.max_model_len - request.prompt_tokens
            others[request.index] = data.draw(st.integers(said + 1, room))
    other = serve(case, requests_of(case, others), now_ns, stepping=True)
    assert decided(other) == decided(engine)
    skipped = serve(case, requests_of(case, others), None, stepping=False)
    assert seen_by(now_ns, records_of(skipped)) == seen_by(now_ns, records_of(whole))


@EXAMPLES
@given(case=cases(max_requests=10))
def test_the_scheduler_serves_requests_that_do_not_know_their_length(case: Case) -> None:
    driver = SchedulerDriver(case.limits)
    for arrival in case.arrivals:
        driver.add(arrival.prompt_tokens, arrival.output_tokens)
    while driver.running or driver.waiting:
        driver.step()


def test_a_request_of_the_driver_indeed_hides_its_length() -> None:
    driver = SchedulerDriver(SchedulerLimits(1, 1, 16, 1))
    driver.add(1, 1)
    with pytest.raises(AttributeError, match="output_tokens"):
        _ = driver.scheduler.waiting[0].output_tokens
