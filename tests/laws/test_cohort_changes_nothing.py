"""Law 15: requests that decode together are where they would be, had each been looked at."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.drafts_by_batch import Ranges
from servecast.primitives.dtype import Dtype
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.speculation import DraftModel, Method, Speculation
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.records import COLUMNS, merge
from servecast.simulator.run_log import COLUMNS as LOGGED
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from tests.toy_deployments import DENSE
from tests.workload_cases import Case, Drawn, cases

DRAFTING = dataclasses.replace(DENSE, speculation=Speculation("ngram", 4, (0.9, 0.7, 0.4, 0.2)))
COST = CompiledStepCost(DRAFTING, RooflineSource())
METHODS: tuple[Method, ...] = ("draft_model", "eagle", "ngram")
"""vLLM refuses the last ahead."""
RANGES: tuple[Ranges, ...] = ((), ((1, 2, 4), (3, 4, 1)), ((1, 1, 0), (2, 3, 3), (4, 4, 0)))
LONGER, BEYOND = (0, 0, 30), (0, 1, 20)
"""Tokens of the model's length beyond the longest request, and of those that clients declare."""


@st.composite
def options(draw: st.DrawFn) -> SteppedOptions:
    """Drafts of each method or none, by batch size or not, ahead or not, by priority or not."""
    drafts = draw(st.integers(0, 4))
    ahead = draw(st.booleans())
    method = draw(st.sampled_from(METHODS[: 3 - ahead]))
    speculation = None
    if drafts:
        chances = DRAFTING.speculation.acceptance[:drafts] if DRAFTING.speculation else ()
        model = None if method == "ngram" else DraftModel(DENSE.model, Dtype.BF16)
        spread, ranges = draw(st.sampled_from((0.0, 0.2))), draw(st.sampled_from(RANGES))
        speculation = Speculation(method, drafts, chances, model, spread, 3, ranges)
    return SteppedOptions(
        scheduling_policy=draw(st.sampled_from(("fcfs", "priority"))),
        long_prefill_token_threshold=draw(st.sampled_from((0, 0, 3, 17))),
        async_scheduling=ahead,
        speculation=speculation,
    )


def served(case: Case, chosen: SteppedOptions, beyond: int, *, stepping: bool) -> SteppedEngine:
    """An engine that has served all, and what it told meanwhile."""
    engine = SteppedEngine(case.limits, [COST], options=chosen, stepping=stepping)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        request = arrival.request()
        request.priority = arrival.number % 3
        request.max_tokens += beyond * (arrival.number % 2)
        engine.submit(request, arrival.arrival_ns)
    for _ in range(len(case.arrivals) * 40 * case.limits.max_model_len):
        end_ns = engine.next_ns()
        if end_ns is None:
            return engine
        engine.advance(end_ns)
    raise AssertionError("it never ends")


def gaps(engine: AnyEngine) -> dict[int, int]:
    waits, counts = engine.log.inter_token_ns(COST.decode_run)
    return dict(zip(waits.tolist(), counts.tolist(), strict=True))


def assert_equal(ours: SteppedEngine, theirs: SteppedEngine) -> None:
    found, expected = merge([ours.recorder]), merge([theirs.recorder])
    for column in LOGGED:
        np.testing.assert_array_equal(ours.log.column(column), theirs.log.column(column), column)
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), column)
    assert gaps(ours) == gaps(theirs)
    assert ours.now_ns == theirs.now_ns
    assert ours.blocks.peak_used == theirs.blocks.peak_used
    assert ours.unfinished == ours.blocks.used == ours.scheduler.cohort.spare_blocks == 0


@pytest.mark.parametrize("prefixes", [False, True], ids=["no cache", "prefix cache"])
def test_a_cohort_changes_nothing(
    prefixes: bool, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVECAST_CHECK", "1")
    seen: Counter[str] = Counter()

    @drawn(50)
    @given(cases(prefixes=prefixes), options(), st.sampled_from(LONGER), st.sampled_from(BEYOND))
    def both_agree(case: Case, chosen: SteppedOptions, longer: int, beyond: int) -> None:
        least = case.limits.max_num_seqs * (1 + chosen.num_spec_tokens + chosen.draft_slots)
        limits = dataclasses.replace(
            case.limits,
            max_model_len=case.limits.max_model_len + longer,
            max_num_batched_tokens=case.limits.max_num_batched_tokens + least,
            num_blocks=case.limits.num_blocks + 4,
        )
        case = dataclasses.replace(case, limits=limits)
        ours = served(case, chosen, beyond, stepping=False)
        assert_equal(ours, served(case, chosen, beyond, stepping=True))
        found = merge([ours.recorder])
        seen["cohorts"] += ours.scheduler.cohort.last_order > 0
        seen["preemptions"] += int(found.preemptions.sum())
        seen["cached"] += int(found.cached_tokens.sum())

    both_agree()
    assert seen["cohorts"] > 15
    assert seen["preemptions"] > 20
    assert (seen["cached"] > 500) == prefixes
