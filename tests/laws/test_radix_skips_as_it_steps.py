"""Law 15 for SGLang's own policies with its radix cache, prompts beginning alike.

Pools are cramped and clients trusted little, so ends of the tree are evicted in the middle of runs,
and requests are taken back. Some clients declare just what they will get, some more. With one of
the policies requests are read at every fifth decode step only.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.promises import Promises
from servecast.simulator.request import Request
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from tests.driver import Arrival, records_of, run_out
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import BLOCK_SIZE, Case, Drawn, cases

FULL = CompiledStepCost(DENSE, RooflineSource())
WINDOWS = CompiledStepCost(WINDOWED, RooflineSource())
COSTS: dict[SglangSchedulePolicy, CompiledStepCost] = {
    "dfs-weight": WINDOWS,
    "fcfs": FULL,
    "lof": WINDOWS,
    "lpm": FULL,
}
"""Each policy at one of them: with windows a step depends on how unequal contexts are."""
COLUMNS = ("scheduled_ns", "first_token_ns", "finish_ns", "cached_tokens", "preemptions")


def request(arrival: Arrival) -> Request:
    made = arrival.request()
    made.max_tokens += arrival.number % 3
    return made


def served(
    case: Case,
    cost: CompiledStepCost,
    policy: SglangSchedulePolicy,
    *,
    overlaps: bool,
    mixes: bool,
    step: bool,
    expects: float = 0.1,
) -> Engine:
    budget = -(-case.limits.max_num_batched_tokens // BLOCK_SIZE) * BLOCK_SIZE
    limits = replace(
        case.limits, num_blocks=case.limits.num_blocks + 2, max_num_batched_tokens=budget
    )
    interval = 5 if policy == "lof" else 1
    engine: Engine
    if overlaps:
        ahead = SglangOverlapScheduler(limits, policy, expects, mixes, interval)
        engine = OverlapEngine(ahead, cost, stepping=step)
    else:
        between = SglangEngineScheduler(limits, policy, expects, mixes, interval)
        engine = Engine(limits, cost, policy=lambda _: between, stepping=step)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(request(arrival), arrival.arrival_ns)
        engine.check()
    run_out(engine)
    engine.check()
    return engine


def gaps_of(engine: Engine, cost: CompiledStepCost) -> dict[int, int]:
    """How many tokens waited how long."""
    pool: dict[int, int] = {}
    for wait, count in zip(*engine.log.inter_token_ns(cost.decode_run), strict=True):
        pool[int(wait)] = pool.get(int(wait), 0) + int(count)
    assert min(pool.values(), default=0) >= 0
    return {wait: count for wait, count in pool.items() if count}


@pytest.mark.parametrize("mixes", [False, True], ids=["prompts alone", "mixed"])
@pytest.mark.parametrize("overlaps", [False, True], ids=["between steps", "overlap"])
@pytest.mark.parametrize("policy", COSTS)
def test_skipping_equals_stepping(
    policy: SglangSchedulePolicy, overlaps: bool, mixes: bool, drawn: Drawn
) -> None:
    cost, runs, steps, cached, retractions = COSTS[policy], 0, 0, 0, 0

    @drawn(30)
    @given(cases(prefixes=True))
    def both_agree(case: Case) -> None:
        nonlocal runs, steps, cached, retractions
        skipping, stepping = (
            served(case, cost, policy, overlaps=overlaps, mixes=mixes, step=each)
            for each in (False, True)
        )
        fast, slow = records_of(skipping), records_of(stepping)
        for name in COLUMNS:
            assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
        pooled = gaps_of(skipping, cost)
        assert pooled == gaps_of(stepping, cost)
        assert sum(pooled.values()) == int((fast.output_tokens - 1).sum())
        waited = sum(wait * count for wait, count in pooled.items())
        assert waited == int((fast.finish_ns - fast.first_token_ns).sum())
        assert len(fast) == len(case.arrivals)
        assert skipping.scheduler.blocks.free == skipping.scheduler.blocks.total
        runs += len(skipping.log)
        steps += len(stepping.log)
        cached += int(fast.cached_tokens.sum())
        retractions += int(fast.preemptions.sum())

    both_agree()
    # Budgets of less than a page beside the decodes make each pass look at who waits.
    assert runs < steps * (0.8 if mixes else 0.5), "hardly any step was skipped"
    assert cached, "nobody found anything"
    assert retractions, "nobody was retracted"


def beyond(_: Promises, steps: int) -> int:
    """A bound that never decides."""
    return steps + (1 << 40)


def test_a_bound_on_what_is_promised_decides_as_the_sum_does(
    monkeypatch: pytest.MonkeyPatch, drawn: Drawn
) -> None:
    retractions = 0

    @drawn(100)
    @given(cases())
    def both_agree(case: Case) -> None:
        nonlocal retractions
        found: list[list[int]] = []
        for bound in (Promises.at_most, beyond):
            with monkeypatch.context() as patched:
                patched.setattr(Promises, "at_most", bound)
                engine = served(
                    case, FULL, "fcfs", overlaps=True, mixes=False, step=False, expects=0.5
                )
            records = records_of(engine)
            found.append(records.finish_ns.tolist())
            retractions += int(records.preemptions.sum())
        assert found[0] == found[1]

    both_agree()
    assert retractions, "no pool was scarce"
