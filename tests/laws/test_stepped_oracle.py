"""Law 14 for the engine that takes every step: what is still to be said decides nothing yet.

Its device knows what comes out of the batches under way, so a moment is as far as that reaches.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.speculation import Speculation
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.request import Request
from servecast.simulator.run_log import COLUMNS
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, cases

COST = CompiledStepCost(DENSE, RooflineSource())
OPTIONS = {
    "drafts": SteppedOptions(speculation=Speculation("ngram", 3, (0.7, 0.5, 0.3))),
    "stages ahead": SteppedOptions(pipeline_parallel_size=2, async_scheduling=True),
    "by priority": SteppedOptions(scheduling_policy="priority", long_prefill_token_threshold=20),
}


def served(
    case: Case, outputs: dict[int, int], options: SteppedOptions, until_ns: int | None
) -> tuple[SteppedEngine, list[SteppedRequest]]:
    """An engine that has committed what ends by `until_ns`, and who has not ended in it."""
    engine = SteppedEngine(case.limits, [COST] * options.pipeline_parallel_size, options=options)
    for each in case.arrivals:
        if until_ns is None or each.arrival_ns <= until_ns:
            room = case.limits.max_model_len - each.prompt_tokens
            known = (each.number, each.arrival_ns, each.prompt_tokens, outputs[each.number], room)
            request = Request(*known, known=each.known)
            request.priority = each.number % 3
            engine.advance(each.arrival_ns)
            engine.submit(request, each.arrival_ns)
    engine.advance(until_ns)
    engine.scheduler.cohort.part(0)  # what each stands at is its own again
    waiting = engine.scheduler.waiting
    queued = [waiting.pop_request() for _ in range(len(waiting))]
    return engine, [*engine.scheduler.running, *queued]


def decided(engine: SteppedEngine, unfinished: list[SteppedRequest]) -> tuple[object, ...]:
    """All that an engine has done and where everyone stands."""
    return (
        {name: engine.log.column(name).tolist() for name in COLUMNS},
        [(each.request.index, each.num_computed_tokens) for each in unfinished],
        [request.index for request in engine.finished],
        engine.blocks.used,
    )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@settings(max_examples=25, derandomize=True, deadline=None)
@given(case=st.one_of(cases(), cases(prefixes=True)), share=st.floats(0, 1), data=st.data())
def test_other_futures_have_the_same_past(
    options: SteppedOptions, case: Case, share: float, data: st.DataObject
) -> None:
    outputs = {arrival.number: arrival.output_tokens for arrival in case.arrivals}
    whole, _ = served(case, outputs, options, None)
    now_ns = int(share * whole.now_ns)
    engine, unfinished = served(case, outputs, options, now_ns)
    others = dict(outputs)
    for each in unfinished:
        said = each.said - each.request.prompt_tokens
        if said < each.request.output_tokens:
            room = case.limits.max_model_len - each.request.prompt_tokens
            others[each.request.index] = data.draw(st.integers(said + 1, room))
    assert decided(*served(case, others, options, now_ns)) == decided(engine, unfinished)
