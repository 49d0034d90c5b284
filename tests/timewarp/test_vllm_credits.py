"""One scheduler pass for many steps decides what one pass a step decides, to the last block."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.records import Records, merge
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.driver import Driver
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_credits import CreditBrokenError
from servecast.timewarp.vllm_engine import VllmEngine
from tests.emulated_options import options
from tests.timewarp.emulated_cases import CASES, Case, admitted, burst, limited, poisson

pytestmark = pytest.mark.engine(name="vllm")

BIG = limited(max_model_len=4096, max_num_seqs=256, max_num_batched_tokens=8192)
LARGE = (
    Case("burst of 256", BIG, burst(256, [512], [256])),
    Case("Poisson at 40/s", BIG, poisson(250, 40.0)),
)
BY_NAME = {case.name: case for case in (*CASES, *LARGE)}


@dataclass(frozen=True)
class Trace:
    """All that two runs of one engine must have in common."""

    records: Records
    gaps_ns: tuple[Sequence[int], Sequence[int]]
    steps: Sequence[tuple[int, int]]
    blocks: Mapping[str, Sequence[int]]
    """Ids of the KV blocks that each request was given, in that order."""
    free: Sequence[int]
    """Ids of the free blocks at the end, the next to be taken first."""
    touched: int
    """How often a request was scheduled: what skipping saves."""


def clients(case: Case) -> Arrivals:
    requests, traffic = admitted(case).requests(), case.workload
    if traffic.concurrency is None:
        return OpenLoop(requests)
    return ClosedLoop(requests, traffic.concurrency, traffic.think_ns)


def trace(case: Case, monkeypatch: pytest.MonkeyPatch, *, stepping: bool, ahead: bool) -> Trace:
    pytest.importorskip("vllm")
    from servecast.timewarp.vllm_executor import VirtualExecutor

    given: defaultdict[str, list[int]] = defaultdict(list)
    execute: Any = VirtualExecutor.execute_model
    touched = [0]

    def noting(self: object, scheduled: Any, *args: object, **kwargs: object) -> object:
        touched[0] += len(scheduled.num_scheduled_tokens)
        for new in scheduled.scheduled_new_reqs:
            given[new.req_id] += new.block_ids[0]
        known = scheduled.scheduled_cached_reqs
        for request_id, blocks in zip(known.req_ids, known.new_block_ids, strict=True):
            given[request_id] += blocks[0] if blocks else ()
        return execute(self, scheduled, *args, **kwargs)

    monkeypatch.setattr(VirtualExecutor, "execute_model", noting)
    served, traffic = case.deployment, case.workload
    cost = CompiledStepCost(served, RooflineSource())
    serving = Serving(VirtualDevice(VirtualClock(), cost), clients(case))
    engine = VllmEngine(
        served,
        options(dataclasses.replace(served, async_scheduling=ahead), traffic),
        serving,
        stepping=stepping,
    )
    journal = Journal(0)
    try:
        Driver(engine, serving, journal).run()
    finally:
        engine.close()
        monkeypatch.setattr(VirtualExecutor, "execute_model", execute)
    pool: Any = vars(engine)["_core"].scheduler.kv_cache_manager.block_pool
    waits, counts = journal.log.inter_token_ns(cost.decode_run)
    columns = (journal.log.column(name).tolist() for name in ("start_ns", "duration_ns"))
    return Trace(
        records=merge([journal.recorder]),
        gaps_ns=(waits.tolist(), counts.tolist()),
        steps=list(zip(*columns, strict=True)),
        blocks=given,
        free=[block.block_id for block in pool.free_block_queue.get_all_free_blocks()],
        touched=touched[0],
    )


@pytest.mark.parametrize("ahead", [False, True], ids=["synchronous", "asynchronous"])
@pytest.mark.parametrize("name", BY_NAME)
def test_skipping_equals_stepping(name: str, ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    case = BY_NAME[name]
    stepped = trace(case, monkeypatch, stepping=True, ahead=ahead)
    skipped = trace(case, monkeypatch, stepping=False, ahead=ahead)
    assert skipped.steps == stepped.steps
    for column in (field.name for field in fields(Records)):
        ours, theirs = getattr(skipped.records, column), getattr(stepped.records, column)
        np.testing.assert_array_equal(ours, theirs, column)
    assert skipped.gaps_ns == stepped.gaps_ns
    assert skipped.blocks == stepped.blocks
    assert skipped.free == stepped.free
    assert skipped.touched <= stepped.touched


def test_skipping_schedules_a_request_once_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    stepped, skipped = (
        trace(LARGE[0], monkeypatch, stepping=stepping, ahead=False) for stepping in (True, False)
    )
    assert skipped.touched < stepped.touched / 10


def always(credits: object) -> bool:
    return True


def test_a_preemption_that_meets_an_open_credit_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("vllm")
    from servecast.timewarp.vllm_credits import BlockCredits

    monkeypatch.setattr(BlockCredits, "_has_room", always)
    with pytest.raises(CreditBrokenError):
        trace(BY_NAME["small cache, preemptions"], monkeypatch, stepping=False, ahead=False)
