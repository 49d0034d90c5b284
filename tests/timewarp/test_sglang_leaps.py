"""One pass of SGLang's scheduler for many steps decides what one pass a step decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.deployment import Deployment
from servecast.timewarp.mode import Mode
from servecast.timewarp.sglang_engine import SglangEngine
from servecast.timewarp.sglang_run import SglangRun
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import burst, poisson, requests
from tests.timewarp.sglang_cases import (
    DEPLOYMENT,
    NORMAL,
    declared,
    emulated,
    pressed,
    sharing,
)

pytestmark = pytest.mark.engine(name="sglang")

PAGED = dataclasses.replace(DEPLOYMENT, block_size=16)
STEPPING, SKIPPING = Mode(stepping=True), Mode()


class Minute(ConstantStepCost):
    """A cost that no two steps share, nor two groups that are unequal in another way."""

    needs_spread = True

    def __init__(self) -> None:
        super().__init__(0)

    def step(self, batch: Batch) -> StepTime:
        """Ten milliseconds and a little for all that can be told of a batch."""
        little = sum(
            7 * group.query_tokens + 5 * group.sequences + 3 * group.context_sum + group.spread
            for group in batch.groups
        )
        return StepTime(10_000_000 + little, 0)

    def spread(self, contexts: Sequence[int]) -> int:
        """How far the contexts lie apart."""
        return max(contexts) - min(contexts)


def alike() -> Workload:
    """Seven system prompts in turn, whose questions and answers come back a turn later."""
    rng = np.random.default_rng(4)
    arrival_s = np.cumsum(rng.exponential(1 / 9, 120)).tolist()
    prompts, outputs = rng.integers(200, 700, 120), rng.integers(20, 120, 120)
    ids = [[100 * (row % 7) + at for at in range(4 + row // 7 % 3)] for row in range(120)]
    return sharing(requests(arrival_s, prompts.tolist(), outputs.tolist()), 48, ids)


@dataclass(frozen=True)
class Case:
    """What is served, in a pool of how many tokens, how."""

    name: str
    workload: Workload
    num_tokens: int = 20_000
    options: tuple[str, ...] = ()
    deployment: Deployment = DEPLOYMENT


CASES = (
    Case("burst of 64", burst(40, [64, 100, 30], [120, 40, 90])),
    Case("burst into few places", burst(40, [100, 400], [50, 3, 90]), 6000,
         ("--max-running-requests", "5")),
    Case("Poisson at 4/s", poisson(30, 4.0), 60_000),
    Case("Poisson at 16/s, lengths declared", declared(poisson(60, 16.0)), 100_000),
    Case("retractions", pressed(), 2400),
    Case("retractions, pages of 16", pressed(), 2400, (), PAGED),
    Case("shared prefixes", alike()),
    Case("shared prefixes, evicted, pages of 16", alike(), 8000, (), PAGED),
    Case("shared prefixes, most of them first", alike(), 4000,
         ("--schedule-policy", "lpm", "--schedule-conservativeness", "0.2")),
    Case("mixed chunks", poisson(40, 8.0), 60_000, ("--enable-mixed-chunk",)),
    Case("closed loop", closed_loop(poisson(40, 1.0), 6, 40_000_000)),
)  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """All that two runs must have in common, and how many passes it took."""

    run: SglangRun
    admissions: list[tuple[object, ...]]
    """At each batch of prompts the new-token ratio, where its tokens lie in the pool, and
    a hash of the places that are free, in the order in which they will be taken."""
    rows: bytes
    """Where the tokens of requests lie, or lay, in the pool."""
    forwards: int
    """Forward passes, as SGLang has counted them."""
    passes: int


def trace(case: Case, loop: Sequence[str], mode: Mode, monkeypatch: pytest.MonkeyPatch) -> Trace:
    run: Any = SglangEngine.run
    admissions: list[tuple[object, ...]] = []
    schedulers: list[Any] = []
    passes = [0]

    def watched(self: SglangEngine) -> None:
        scheduler = self.scheduler
        schedulers.append(scheduler)
        pool, launch = scheduler.token_to_kv_pool_allocator, scheduler.run_batch

        def counting(batch: Any, *given: object, **named: object) -> object:
            passes[0] += 1
            if batch.forward_mode.is_extend():
                ratio = scheduler.new_token_ratio_tracker.current
                free = pool.get_all_free_pages().numpy().tobytes()
                taken = batch.out_cache_loc.tolist()
                admissions.append((ratio, taken, hash(free)))
            return launch(batch, *given, **named)

        scheduler.run_batch = counting
        run(self)

    with monkeypatch.context() as patch:
        patch.setattr(SglangEngine, "run", watched)
        done = emulated(
            case.workload,
            *(*case.options, *loop),
            num_tokens=case.num_tokens,
            deployment=case.deployment,
            cost=Minute(),
            mode=mode,
        )
    (scheduler,) = schedulers
    rows = scheduler.req_to_token_pool.req_to_token.numpy().tobytes()
    return Trace(done, admissions, rows, scheduler.forward_ct, passes[0])


@pytest.mark.parametrize("loop", [(), (NORMAL,)], ids=["overlap", "normal"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_skipping_equals_stepping(
    case: Case, loop: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = trace(case, loop, STEPPING, monkeypatch)
    skipped = trace(case, loop, SKIPPING, monkeypatch)
    assert stepped.run.stepping
    assert not skipped.run.stepping
    assert stepped.passes == stepped.forwards == skipped.forwards
    assert skipped.passes < 0.9 * skipped.forwards
    assert skipped.admissions == stepped.admissions
    assert skipped.rows == stepped.rows
    one, other = (each.run.result for each in (stepped, skipped))
    assert one.preemptions == other.preemptions
    for field in dataclasses.fields(one.records):
        values = [getattr(each.records, field.name).tolist() for each in (one, other)]
        assert values[0] == values[1], field.name
    logs = [each.logs[0] for each in (one, other)]
    for column in ("start_ns", "duration_ns", "sequences", "context", "spread", "blocks_used"):
        assert logs[0].column(column).tolist() == logs[1].column(column).tolist(), column
    gaps = [log.inter_token_ns(one.cost.decode_run) for log in logs]
    assert np.array_equal(gaps[0], gaps[1])
    assert one.peak_blocks == other.peak_blocks


def test_the_cases_retract_and_find_prefixes() -> None:
    by_name = {case.name: case for case in CASES}
    for name in ("retractions", "retractions, pages of 16"):
        case = by_name[name]
        run = emulated(case.workload, num_tokens=2400, deployment=case.deployment, mode=SKIPPING)
        assert run.result.preemptions >= 4
    cached = emulated(alike(), mode=SKIPPING).result.records.cached_tokens
    assert (cached >= 192).sum() > 80


@pytest.mark.parametrize(
    "option", [("--prefill-decode-interval", "2"), ("--enable-prefill-delayer",)]
)
def test_where_passes_are_counted_each_is_taken(option: tuple[str, ...]) -> None:
    run = emulated(burst(4, [20], [10]), *option, mode=SKIPPING)
    assert run.stepping
