"""SGLang that decodes what another server has computed, against transfers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.timewarp.mode import Mode
from servecast.timewarp.remote_kv import Link
from servecast.timewarp.sglang_transfers import Sent
from tests.timewarp.emulated_cases import burst, poisson, requests
from tests.timewarp.sglang_cases import NORMAL, emulated, pressed, same, shapes

pytestmark = pytest.mark.engine(name="sglang")

MS = 1_000_000
LINK = Link(bytes_per_s=1e7, bytes_per_token=1e3)
"""Ten tokens a millisecond."""
THREE = requests([0.0, 0.005, 0.02], [700, 100, 30], [5, 4, 1])
LOOPS = pytest.mark.parametrize("loop", [(), (NORMAL,)], ids=["overlap", "normal"])


def test_who_is_there_decodes_while_the_next_is_under_way() -> None:
    """A request joins (0 tokens) when its cache is there, and its first token is out then."""
    run = emulated(THREE, NORMAL, sent=Sent(LINK))
    assert shapes(run) == [
        (7, ((0, 0, 700),)),
        (7, ((0, 1, 700),)),
        (8, ((1, 0, 100),)),
        (8, ((0, 1, 701), (1, 1, 100))),
        (9, ((2, 0, 30),)),
        (9, ((0, 1, 702), (1, 1, 101))),
        (10, ((0, 1, 703), (1, 1, 102))),
    ]
    records = run.result.records
    assert (records.first_token_ns // MS).tolist() == [70, 80, 90]
    assert (records.finish_ns // MS).tolist() == [110, 110, 90]
    assert records.output_tokens.tolist() == [5, 4, 1]


def test_with_overlap_a_step_is_launched_before_a_transfer_is_seen() -> None:
    records = emulated(THREE, sent=Sent(LINK)).result.records
    assert (records.first_token_ns // MS).tolist() == [70, 80, 90]
    assert (records.finish_ns // MS).tolist() == [110, 120, 90]


@LOOPS
def test_a_transfer_begins_when_its_prompt_is_computed(loop: tuple[str, ...]) -> None:
    slow = Link(LINK.bytes_per_s, LINK.bytes_per_token, latency_s=0.004)
    alone = requests([0.0, 1.0], [700, 100], [3, 3])
    at_once = emulated(alone, *loop, sent=Sent(slow)).result.records
    assert (at_once.ttft_ns // MS).tolist() == [74, 14]
    ready = Sent(slow, ready_ns=lambda index: 200 * MS)
    later = emulated(alone, *loop, sent=ready).result.records
    assert (later.ttft_ns // MS).tolist() == [270, 14]


@LOOPS
def test_transfers_of_a_burst_queue_on_the_link(loop: tuple[str, ...]) -> None:
    records = emulated(burst(5, [500], [1]), *loop, sent=Sent(LINK)).result.records
    assert (records.ttft_ns // MS).tolist() == [50, 100, 150, 200, 250]


@LOOPS
def test_a_pool_that_runs_dry_takes_requests_back_and_restores_them(loop: tuple[str, ...]) -> None:
    """SGLang keeps what it has computed of them in host memory: no prompt is computed."""
    workload, sent = pressed(), Sent(Link(1e9, 1e3))
    options = (*loop, "--num-reserved-decode-tokens", "8")
    run = emulated(workload, *options, num_tokens=2400, sent=sent)
    assert run.result.preemptions > 0
    assert np.array_equal(run.result.records.output_tokens, workload.output_tokens)
    assert all(count <= 1 for batch in run.batches.batches for _, count, _ in batch.computed)
    assert same(run, emulated(workload, *options, num_tokens=2400, sent=sent))


def test_each_step_is_taken() -> None:
    run = emulated(poisson(10, 8.0), mode=Mode(), sent=Sent(LINK))
    assert run.stepping
    assert len(run.result.records) == 10
    assert run.result.itl.mean > 0
