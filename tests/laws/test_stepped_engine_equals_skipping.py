"""Law 15, once more: the engine that takes every step has the records of the one that skips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.engine import Engine
from servecast.simulator.records import COLUMNS, merge
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import Case, cases

COSTS = {
    "full attention": CompiledStepCost(DENSE, RooflineSource()),
    "sliding windows": CompiledStepCost(WINDOWED, RooflineSource()),
}
EXAMPLES = settings(max_examples=50, derandomize=True, deadline=None, print_blob=True)


def serve(engine: AnyEngine, case: Case) -> None:
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    engine.advance(None)


def gaps(engine: AnyEngine, cost: StepCost) -> Counter[int]:
    pool: Counter[int] = Counter()
    for wait, count in zip(*engine.log.inter_token_ns(cost.decode_run), strict=True):
        pool[int(wait)] += int(count)
    return +pool


def assert_equal(skipping: Engine, stepping: SteppedEngine, cost: StepCost) -> None:
    ours, theirs = merge([skipping.recorder]), merge([stepping.recorder])
    for column in COLUMNS:
        if column not in ("first_run", "last_run"):  # rows of the log: runs here, steps there
            np.testing.assert_array_equal(getattr(ours, column), getattr(theirs, column), column)
    assert gaps(skipping, cost) == gaps(stepping, cost)
    assert skipping.now_ns == stepping.now_ns
    peaks = stepping.blocks.peak_used, skipping.scheduler.blocks.peak_used
    assert peaks[0] <= peaks[1]  # counted after a pass, or within it
    assert stepping.unfinished == stepping.blocks.used == 0


@pytest.mark.parametrize("prefixes", [False, True], ids=["no cache", "prefix cache"])
@pytest.mark.parametrize(
    ("attention", "ahead"),
    [("full attention", False), ("full attention", True), ("sliding windows", False)],
)
def test_taking_every_step_changes_nothing(attention: str, prefixes: bool, ahead: bool) -> None:
    cost, preemptions, cached = COSTS[attention], 0, 0

    @EXAMPLES
    @given(cases(prefixes=prefixes))
    def both_agree(case: Case) -> None:
        nonlocal preemptions, cached
        skipping = (AsyncEngine if ahead else Engine)(case.limits, cost)
        options = SteppedOptions(async_scheduling=ahead)
        stepping = SteppedEngine(case.limits, [cost], options=options)
        serve(skipping, case)
        serve(stepping, case)
        assert_equal(skipping, stepping, cost)
        found = merge([stepping.recorder])
        preemptions += int(found.preemptions.sum())
        cached += int(found.cached_tokens.sum())

    both_agree()
    assert preemptions > 20
    assert (cached > 2_000) == prefixes
