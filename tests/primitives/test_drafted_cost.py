"""What drafts cost: verified rows of the head, and the draft model's own steps."""

from __future__ import annotations

import dataclasses

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import DraftedCost, DraftsFirstCost
from servecast.primitives.drafters import own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.speculation import DraftModel, Speculation
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.primitives.step_costs import StepCosts
from tests.emitted_cases import DEPLOYMENT
from tests.timewarp.test_device import NotedCost

PLAIN = dataclasses.replace(DEPLOYMENT, weights_dtype=Dtype.BF16, tensor_parallel_size=1)
SOURCE = RooflineSource()
NGRAM = Speculation("ngram", 3, (0.5, 0.4, 0.3))
VERIFY = Batch((Group(4, 8, 8000, 0, True),))


def deployed(deployment: Deployment) -> StepCost:
    """Its cost by the roofline, drafts included."""
    return StepCosts(SOURCE).with_drafts(deployment)


def test_a_draft_model_computes_the_batch_and_then_one_token_each() -> None:
    draft = NotedCost(device_ns=7, host_ns=1000)
    cost = DraftedCost(NotedCost(), draft, [3] * 4)
    batch = Batch((Group(4, 2, 100, 0, True), Group(30, 1, 5)))
    assert cost.step(batch) == (100 + 3 * 7, 10)
    assert draft.batches == [batch, Batch((Group(1, 3, 143, 0, True),))]


def test_the_drafts_after_a_step_go_by_its_sequences_and_none_still_computes_the_batch() -> None:
    draft = NotedCost(device_ns=7)
    cost = DraftedCost(NotedCost(), draft, [3, 3, 1, 0])
    found = [cost.step(Batch((Group(1, n, 100, 0, True),))).device_ns for n in (1, 2, 3)]
    assert found == [100 + 3 * 7, 100 + 7, 100 + 7]


def test_sglang_drafts_what_a_step_verifies_when_it_begins() -> None:
    draft = NotedCost(device_ns=7, host_ns=1000)
    cost = DraftsFirstCost(NotedCost(), draft, [3] * 4)
    verifying, prompts = Batch((Group(4, 2, 100, 0, True),)), Batch((Group(30, 1, 5),))
    assert cost.step(verifying) == (100 + 3 * 7, 10)
    assert draft.batches == [verifying, Batch((Group(1, 2, 100, 0, True),))]
    assert cost.step(prompts) == (100 + 7, 10)
    assert draft.batches[2:] == [prompts]


def test_the_order_is_the_engine_s_own() -> None:
    own = Speculation("draft_model", 3, (0.5, 0.4, 0.3), DraftModel(PLAIN.model, Dtype.BF16))
    drafting = dataclasses.replace(PLAIN, speculation=own)
    mixed = Batch((Group(4, 8, 8000, 0, True), Group(100, 1, 0)))
    sglang = deployed(dataclasses.replace(drafting, engine="sglang"))
    assert sglang.step(mixed).device_ns < deployed(drafting).step(mixed).device_ns


def test_an_ngram_lookup_takes_no_time_on_the_device() -> None:
    drafting = dataclasses.replace(PLAIN, speculation=NGRAM)
    assert isinstance(deployed(drafting), CompiledStepCost)


def test_no_drafts_cost_nothing() -> None:
    off = deployed(PLAIN)
    none = deployed(dataclasses.replace(PLAIN, speculation=Speculation("ngram", 0, ())))
    decode = Batch((Group(1, 8, 8000, 0, True), Group(100, 1, 0)))
    assert off.step(decode) == none.step(decode)


def test_verifying_reads_the_cache_once_and_computes_every_row() -> None:
    plain = deployed(PLAIN)
    verifying = deployed(dataclasses.replace(PLAIN, speculation=NGRAM))
    decode = Batch((Group(1, 8, 8000, 0, True),))
    chunk = Batch((Group(32, 1, 0),))
    once, four = verifying.step(decode).device_ns, verifying.step(VERIFY).device_ns
    assert verifying.step(decode) == plain.step(decode)
    assert verifying.step(chunk) == plain.step(chunk)
    assert once < four < 1.1 * once  # eight sequences leave the device bound by what it reads
    many = Batch((Group(4, 64, 64000, 0, True),))
    rows = verifying.step(many).device_ns - plain.step(many).device_ns
    assert 0 < rows < 0.1 * plain.step(many).device_ns  # the head's further rows alone


def test_a_small_model_drafts_for_less_than_a_step_of_its_target() -> None:
    llama, small = model("llama-3.1-70b"), model("llama-3.2-1b")
    big = dataclasses.replace(PLAIN, model=llama, tensor_parallel_size=4)
    drafts = Speculation("draft_model", 3, (0.5, 0.4, 0.3), own_model(llama, small))
    drafted = deployed(dataclasses.replace(big, speculation=drafts))
    looked_up = deployed(dataclasses.replace(big, speculation=NGRAM))
    alone = deployed(dataclasses.replace(big, model=small))
    drafting_ns = drafted.step(VERIFY).device_ns - looked_up.step(VERIFY).device_ns
    one_each = Batch((Group(1, 8, 8032, 0, True),))
    assert drafting_ns == alone.step(VERIFY).device_ns + 2 * alone.step(one_each).device_ns
    assert drafting_ns < 0.5 * looked_up.step(VERIFY).device_ns


@pytest.mark.parametrize("drafts", [1, 3])
def test_the_targets_own_runs_and_spreads_are_kept(drafts: int) -> None:
    target = deployed(PLAIN)
    draft = DraftModel(PLAIN.model, Dtype.BF16)
    chances = (0.5,) * drafts
    drafting = Speculation("draft_model", drafts, chances, draft)
    cost = deployed(dataclasses.replace(PLAIN, speculation=drafting))
    assert cost.needs_spread == target.needs_spread
    assert cost.spread([10, 20]) == target.spread([10, 20])
    assert cost.decode_run(4).run_ns(100, 5) == target.decode_run(4).run_ns(100, 5)
