"""Law 15 with asynchronous scheduling: skipping equals stepping, and no token is lost or doubled.

Some clients declare just what they will get, so that the scheduler foresees the end, some more.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.async_engine import AsyncEngine
from servecast.simulator.request import Request
from tests.driver import Arrival, records_of, run_out
from tests.toy_deployments import DENSE, WINDOWED
from tests.workload_cases import Case, Drawn, cases

COSTS = {
    "full attention": CompiledStepCost(DENSE, RooflineSource(), HostTime.asynchronous()),
    "sliding windows": CompiledStepCost(WINDOWED, RooflineSource(), HostTime.asynchronous()),
}
COLUMNS = ("scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens")


def request(arrival: Arrival) -> Request:
    made = arrival.request()
    made.max_tokens += arrival.number % 3
    return made


def served(case: Case, cost: CompiledStepCost, *, stepping: bool) -> AsyncEngine:
    engine = AsyncEngine(case.limits, cost, stepping=stepping)
    for arrival in case.arrivals:
        engine.advance(arrival.arrival_ns)
        engine.submit(request(arrival), arrival.arrival_ns)
    run_out(engine)
    return engine


def gaps_of(engine: AsyncEngine, cost: CompiledStepCost) -> dict[int, int]:
    pool: dict[int, int] = {}
    for wait, count in zip(*engine.log.inter_token_ns(cost.decode_run), strict=True):
        pool[int(wait)] = pool.get(int(wait), 0) + int(count)
    assert min(pool.values(), default=0) >= 0
    return {wait: count for wait, count in pool.items() if count}


@pytest.mark.parametrize("prefixes", [False, True], ids=["no cache", "prefix cache"])
@pytest.mark.parametrize("attention", COSTS)
def test_skipping_equals_stepping(
    attention: str, prefixes: bool, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVECAST_CHECK", "1")
    cost, runs, steps, preemptions = COSTS[attention], 0, 0, 0

    @drawn(150)
    @given(cases(prefixes=prefixes))
    def both_agree(case: Case) -> None:
        nonlocal runs, steps, preemptions
        skipping, stepping = (served(case, cost, stepping=each) for each in (False, True))
        fast, slow = records_of(skipping), records_of(stepping)
        for name in COLUMNS:
            assert getattr(fast, name).tolist() == getattr(slow, name).tolist(), name
        pooled = gaps_of(skipping, cost)
        assert pooled == gaps_of(stepping, cost)
        assert sum(pooled.values()) == int((fast.output_tokens - 1).sum())
        waited = sum(wait * count for wait, count in pooled.items())
        assert waited == int(np.sum(fast.finish_ns - fast.first_token_ns))
        assert len(fast) == len(case.arrivals)
        assert skipping.scheduler.blocks.free == case.limits.num_blocks
        runs += len(skipping.log)
        steps += len(stepping.log)
        preemptions += int(fast.preemptions.sum())

    both_agree()
    assert runs < steps / 2, "hardly any step was skipped"
    assert preemptions > 20
