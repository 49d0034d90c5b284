"""Laws 1, 12 and 15 for schedulers without an engine to run beside: naive twins are their equals.

To the nanosecond, whether decode steps are skipped or not, with KV caches from cramped to ample;
every request ends, every token has a gap of its own, and all blocks come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import given

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.static_scheduler import StaticScheduler
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from tests.driver import inter_token_ns, records_of, run_out
from tests.reference_engine import ReferenceEngine, Seq
from tests.reference_policies import PausingReference, ReservingReference, StaticReference
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import BLOCK_SIZE, Case, Drawn, cases

COSTS = {
    "full attention": CompiledStepCost(DENSE, RooflineSource()),
    "sliding windows": CompiledStepCost(WINDOWED, RooflineSource()),
}


@dataclass(frozen=True)
class Pair:
    """A scheduler and its naive twin."""

    scheduler: Callable[[SchedulerLimits], Scheduler]
    twin: Callable[[SchedulerLimits, StepCost], ReferenceEngine]
    cuts: bool = False
    preempts: bool = False


PAIRS = {
    "orca": Pair(OrcaScheduler, ReservingReference),
    "static": Pair(StaticScheduler, StaticReference),
    "sarathi": Pair(SarathiScheduler, partial(PausingReference, unit=1), True, True),
    "trtllm": Pair(TrtllmScheduler, ReservingReference),
    "trtllm, chunked": Pair(
        partial(TrtllmScheduler, chunked_context=True),
        partial(ReservingReference, unit=BLOCK_SIZE),
        cuts=True,
    ),
    "trtllm, pausing": Pair(TrtllmPausingScheduler, PausingReference, preempts=True),
    "trtllm, pausing and chunked": Pair(
        partial(TrtllmPausingScheduler, chunked_context=True),
        partial(PausingReference, unit=BLOCK_SIZE),
        cuts=True,
        preempts=True,
    ),
}


def fitted(case: Case, *, cuts: bool) -> Case:
    """The case with a token budget that holds a block, or the longest prompt."""
    limits = case.limits
    least = BLOCK_SIZE if cuts else limits.max_model_len
    budget = max(limits.max_num_batched_tokens, least)
    return replace(case, limits=replace(limits, max_num_batched_tokens=budget))


def served(case: Case, cost: CompiledStepCost, pair: Pair, *, stepping: bool) -> Engine:
    engine = Engine(case.limits, cost, policy=pair.scheduler, stepping=stepping)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(arrival.request(), arrival.arrival_ns)
    run_out(engine)
    return engine


def times(engine: Engine) -> list[tuple[int, int, int]]:
    records = records_of(engine)
    columns = (records.first_token_ns, records.finish_ns, records.preemptions)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("attention", COSTS)
@pytest.mark.parametrize("name", PAIRS)
def test_skipping_equals_stepping_equals_the_twin(
    name: str, attention: str, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVECAST_CHECK", "1")
    pair, cost, preemptions, cut, runs, steps = PAIRS[name], COSTS[attention], 0, 0, 0, 0

    @drawn(60)
    @given(cases())
    def all_three_agree(drawn: Case) -> None:
        nonlocal preemptions, cut, runs, steps
        case = fitted(drawn, cuts=pair.cuts)
        twin = pair.twin(case.limits, cost)
        done = twin.run([Seq(*arrival) for arrival in case.arrivals])
        expected = [(seq.first_ns, seq.finish_ns, seq.preemptions) for seq in done]
        skipping, stepping = (served(case, cost, pair, stepping=each) for each in (False, True))
        assert times(skipping) == times(stepping) == expected
        pooled = inter_token_ns(skipping, cost)
        assert pooled == inter_token_ns(stepping, cost) == Counter(twin.gaps)
        assert skipping.scheduler.blocks.free == case.limits.num_blocks
        preemptions += sum(count for _, _, count in expected)
        computed = [each for batch in twin.batches for each in batch]
        cut += sum(0 < past < case.arrivals[index].prompt_tokens for index, _, past in computed)
        runs += len(skipping.log)
        steps += len(stepping.log)

    all_three_agree()
    assert runs < steps / 2, "hardly any step was skipped"
    assert (preemptions > 20) == pair.preempts
    assert (cut > 20) == pair.cuts
