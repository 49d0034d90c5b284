"""vLLM's own speculative path: what it drafts, takes and pays for."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.drafted_cost import DraftedCost
from servecast.primitives.dtype import Dtype
from servecast.primitives.speculation import DraftModel, Speculation
from servecast.simulator.records import Records
from servecast.timewarp.emulate import Emulation, emulate
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.emulated_options import options
from tests.timewarp.emulated_cases import PLAIN, burst, limited, poisson

pytestmark = pytest.mark.engine(name="vllm")

MS = 1_000_000
COST = ConstantStepCost(MS)
DRAFT = ConstantStepCost(MS // 10)
CHANCES = (0.8, 0.5, 0.2)
NGRAM = Speculation("ngram", 3, CHANCES)
MODEL = Speculation("draft_model", 3, CHANCES, DraftModel(PLAIN.model, Dtype.BF16))
CROWD = poisson(80, 8.0)


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def emulated(
    speculation: Speculation | None, workload: Workload = CROWD, *, ahead: bool = False
) -> Emulation:
    served = dataclasses.replace(PLAIN, async_scheduling=ahead, speculation=speculation)
    drafts = speculation is not None and speculation.draft is not None
    cost = DraftedCost(COST, DRAFT, [3] * 65) if drafts else COST
    return emulate(served, workload, options(served, workload), cost, Mode(log_batches=True))


def gaps(emulation: Emulation) -> int:
    """Tokens that came out after another one of their request."""
    (log,) = emulation.result.logs
    return int(log.inter_token_ns(COST.decode_run)[1].sum())


def advances(emulation: Emulation) -> Counter[int]:
    """How often a verifying step brought so many tokens, the last of a request left out."""
    (log,) = emulation.batches
    reached = dict[int, tuple[int, int]]()
    found = Counter[int]()
    for batch in log.batches:
        for index, count, past in batch.computed:
            before = reached.get(index)
            if before is not None and before[0] == 4:
                found[past - before[1]] += 1
            reached[index] = count, past
    return found


@pytest.mark.parametrize(
    ("speculation", "ahead"), [(NGRAM, False), (MODEL, False), (MODEL, True)],
    ids=["n-gram", "draft model", "draft model, asynchronous"],
)  # fmt: skip
def test_acceptance_comes_out_as_asked_and_all_tokens_do(
    speculation: Speculation, ahead: bool
) -> None:
    emulation = emulated(speculation, ahead=ahead)
    assert gaps(emulation) == CROWD.output_tokens.sum() - len(CROWD)
    found = advances(emulation)
    steps = found.total()
    shares = [sum(found[1 + j] for j in range(i, 4)) / steps for i in (1, 2, 3)]
    assert steps > 5000
    assert np.abs(np.array(shares) - CHANCES).max() < 0.02


def test_a_lone_request_takes_a_step_for_its_accepted_drafts_and_one_more() -> None:
    lone = burst(1, [100], [400])
    position, steps = 1, 0
    while position < 400:
        position += 1 + NGRAM.accepted(0, position)
        steps += 1
    found = emulated(NGRAM, lone).result
    assert found.records.finish_ns.tolist() == [(1 + steps) * MS]
    drafted = emulated(MODEL, lone).result
    assert drafted.records.finish_ns.tolist() == [(1 + steps) * (MS + 3 * MS // 10)]


def test_tokens_of_one_step_come_out_together() -> None:
    all_of_them = Speculation("ngram", 3, (1.0, 1.0, 1.0))
    result = emulated(all_of_them, burst(1, [100], [401])).result
    assert result.itl.p50 == 0.0
    assert result.itl.max == 1e-3
    assert result.duration_s == pytest.approx(0.101)


def assert_same_records(one: Emulation, other: Emulation) -> None:
    for column in (field.name for field in fields(Records)):
        ours, theirs = getattr(one.result.records, column), getattr(other.result.records, column)
        np.testing.assert_array_equal(ours, theirs, column)


def test_no_drafts_is_no_speculation() -> None:
    off, none = emulated(None), emulated(Speculation("ngram", 0, ()))
    assert none.batches[0].batches == off.batches[0].batches
    assert_same_records(none, off)


def test_drafts_that_are_all_rejected_change_nothing_where_verifying_is_free() -> None:
    off, rejected = emulated(None), emulated(Speculation("ngram", 2, (0.0, 0.0)))
    assert_same_records(rejected, off)
    assert rejected.result.itl == off.result.itl


def test_speculation_goes_through_preemptions() -> None:
    cramped = limited(max_model_len=1024, num_gpu_blocks_override=97)
    cramped = dataclasses.replace(cramped, speculation=NGRAM)
    crowd = burst(24, [120, 310, 64], [300, 200, 90])
    given = options(cramped, crowd)
    emulation = emulate(cramped, crowd, given, COST)
    assert emulation.result.preemptions > 5
    assert gaps(emulation) == crowd.output_tokens.sum() - len(crowd)


def test_drafts_over_pipeline_stages_are_refused_by_name() -> None:
    staged = dataclasses.replace(PLAIN, pipeline_parallel_size=2, speculation=NGRAM)
    with pytest.raises(UnsupportedError, match="speculative decoding over pipeline stages"):
        emulate(staged, CROWD, [], COST)
