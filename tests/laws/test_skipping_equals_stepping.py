"""Law 15: three implementations of the engine agree to the nanosecond and batch for batch.

The engine that skips, the same engine taking decode steps one by one, and the naive reference loop
share nothing but the step cost.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.driver import inter_token_ns, records_of, run, run_out
from tests.reference_engine import ReferenceEngine, Seq
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import Case, Drawn, cases

COSTS = {
    "full attention": CompiledStepCost(DENSE, RooflineSource()),
    "sliding windows": CompiledStepCost(WINDOWED, RooflineSource()),
}

EXAMPLES = settings(max_examples=200, derandomize=True, deadline=None, print_blob=True)

Times = list[tuple[int, int, int, int]]


class RecordingScheduler(VllmScheduler):
    """Notes what each scheduled step computes: (request, new tokens, computed before)."""

    batches: list[list[tuple[int, int, int]]]

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """What the scheduler decides, noted."""
        chunks, preempted = super().schedule()
        filling = {chunk.request for chunk in chunks}
        steps = self.group.steps
        decodes = [(r.index, 1, r.base + steps) for r in self.running if r not in filling]
        prefills = [(r.index, new_tokens, past_tokens) for r, new_tokens, past_tokens in chunks]
        self.batches.append(decodes + prefills)
        return chunks, preempted


def run_reference(case: Case, cost: StepCost) -> tuple[ReferenceEngine, Times]:
    reference = ReferenceEngine(case.limits, cost)
    done = reference.run([Seq(*arrival) for arrival in case.arrivals])
    return reference, [(s.first_ns, s.finish_ns, s.preemptions, s.cached) for s in done]


def times(engine: Engine) -> Times:
    records = records_of(engine)
    counts = (records.preemptions, records.cached_tokens)
    columns = (records.first_token_ns, records.finish_ns, *counts)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("prefixes", [False, True], ids=["no cache", "prefix cache"])
@pytest.mark.parametrize("attention", COSTS)
def test_skipping_equals_stepping_equals_the_reference(
    attention: str, prefixes: bool, drawn: Drawn
) -> None:
    cost, cached, preemptions, runs, steps = COSTS[attention], 0, 0, 0, 0

    @drawn(200)
    @given(cases(prefixes=prefixes))
    def all_three_agree(case: Case) -> None:
        nonlocal cached, preemptions, runs, steps
        reference, expected = run_reference(case, cost)
        skipping = run(case.limits, cost, case.arrivals)
        stepping = run(case.limits, cost, case.arrivals, stepping=True)
        assert times(skipping) == times(stepping) == expected
        pooled = inter_token_ns(skipping, cost)
        assert pooled == inter_token_ns(stepping, cost) == Counter(reference.gaps)
        assert skipping.now_ns == stepping.now_ns
        preemptions += sum(count for _, _, count, _ in expected)
        cached += sum(tokens for _, _, _, tokens in expected)
        runs += len(skipping.log)
        steps += len(stepping.log)

    all_three_agree()
    assert preemptions > 100, "the drawn workloads hardly ever exhaust the KV cache"
    assert runs < steps / 2, "hardly any step was skipped"
    assert (cached > 10_000) == prefixes


@pytest.mark.parametrize("attention", COSTS)
@EXAMPLES
@given(case=st.one_of(cases(), cases(prefixes=True)))
def test_every_step_computes_the_batch_that_the_reference_computes(
    attention: str, case: Case
) -> None:
    cost = COSTS[attention]
    reference, _ = run_reference(case, cost)
    engine = Engine(case.limits, cost, stepping=True)
    engine.scheduler = scheduler = RecordingScheduler(case.limits)
    scheduler.batches = []
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    run_out(engine)
    assert scheduler.batches == reference.batches
