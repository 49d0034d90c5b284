"""Requests through two pools: followed by hand, and the laws that queues obey."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.batch import Batch
from servecast.profiler.benchmark_client import benchmark_workload
from servecast.profiler.decode_worker import DecodePool
from servecast.profiler.pool_flow import PoolFlow
from servecast.profiler.prefill_worker import PrefillPool
from servecast.traces.workload import Workload

MS = 1_000_000
THINK_NS = 500_000


def loop(clients: int, isl: int = 100, osl: int = 11) -> Workload:
    return benchmark_workload(clients, isl, osl, exact=True)


def prompts(workers: int = 1, tokens: int = 100, token_ns: int = MS) -> PrefillPool:
    """A millisecond a token, in steps of one prompt of a hundred."""

    def step_ns(batches: Sequence[Batch]) -> int:
        return token_ns * sum(batch.tokens for batch in batches)

    return PrefillPool(workers, 1, tokens, True, step_ns)


def decodes(workers: int = 1, places: int = 100, step_ns: int = 10 * MS) -> DecodePool:
    return DecodePool(workers, places, lambda _: step_ns)


def run(
    clients: int, prefill: PrefillPool, decode: DecodePool, handover_ns: int = 0
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    flow = PoolFlow(loop(clients), clients, prefill, decode, handover_ns)
    ttft_ns, decoding_ns = flow.run()
    assert np.all(flow.end_ns >= flow.first_ns)
    return ttft_ns, decoding_ns, flow.end_ns


def test_one_client_meets_nobody() -> None:
    ttft_ns, decoding_ns, end_ns = run(1, prompts(), decodes(), handover_ns=5 * MS)
    assert ttft_ns.tolist() == [(100 + 5 + 10) * MS] * 10
    assert decoding_ns.tolist() == [100 * MS] * 10
    assert end_ns.tolist() == [(215 * MS) * n + THINK_NS * (n - 1) for n in range(1, 11)]


def test_prompts_of_the_first_wave_wait_in_line_for_one_worker() -> None:
    ttft_ns, _, _ = run(3, prompts(), decodes())
    assert ttft_ns[:3].tolist() == [110 * MS, 210 * MS, 310 * MS]


def test_two_prompt_workers_share_them() -> None:
    ttft_ns, _, _ = run(4, prompts(workers=2), decodes())
    assert ttft_ns[:4].tolist() == [110 * MS, 110 * MS, 210 * MS, 210 * MS]


def test_whoever_finds_no_place_waits_with_a_finished_prompt() -> None:
    fast = prompts(token_ns=1)
    ttft_ns, decoding_ns, _ = run(2, fast, decodes(places=1))
    assert ttft_ns[0] == 100 + 10 * MS
    assert ttft_ns[1] == 100 + 110 * MS + 10 * MS, "the first one's eleven steps, then its own"
    assert decoding_ns.tolist() == [100 * MS] * 20


def test_a_place_more_ends_the_wait() -> None:
    fast = prompts(token_ns=1)
    waiting, at_once = (run(12, fast, decodes(places=n))[0].mean() for n in (8, 12))
    assert at_once < 0.2 * waiting


def test_workers_that_decode_get_as_many_each() -> None:
    shared = DecodePool(4, 100, lambda requests: requests * MS)
    _, decoding_ns, _ = run(8, prompts(token_ns=1), shared)
    assert decoding_ns[:8].tolist() == pytest.approx([20 * MS] * 8, rel=0.06)


def test_who_joins_at_the_same_instant_shares_the_first_step() -> None:
    both = prompts(tokens=200, token_ns=1)
    ttft_ns, decoding_ns, _ = run(2, both, DecodePool(1, 100, lambda requests: requests * MS))
    assert ttft_ns[:2].tolist() == [200 + 2 * MS] * 2
    assert decoding_ns[:2].tolist() == [20 * MS] * 2


loads = st.tuples(
    st.integers(1, 24), st.integers(1, 3), st.integers(1, 8), st.integers(1, MS),
    st.integers(0, 50 * MS),
)  # fmt: skip
"""Clients, workers of either kind, places, nanoseconds a prompt token, and of the handover."""


@settings(max_examples=40)
@given(loads)
def test_no_request_is_faster_than_alone_and_none_is_lost(
    load: tuple[int, int, int, int, int],
) -> None:
    clients, workers, places, token_ns, handover_ns = load
    ttft_ns, decoding_ns, end_ns = run(
        clients, prompts(workers, token_ns=token_ns), decodes(workers, places), handover_ns
    )
    assert len(ttft_ns) == 10 * clients
    assert int(ttft_ns.min()) >= 100 * token_ns + handover_ns + 10 * MS
    assert decoding_ns.tolist() == pytest.approx([100 * MS] * len(decoding_ns))
    assert int(end_ns.min()) > 0


@settings(max_examples=40)
@given(loads)
def test_littles_law_holds_over_the_run(load: tuple[int, int, int, int, int]) -> None:
    clients, workers, places, token_ns, handover_ns = load
    ttft_ns, decoding_ns, end_ns = run(
        clients, prompts(workers, token_ns=token_ns), decodes(workers, places), handover_ns
    )
    busy = float((ttft_ns + decoding_ns + THINK_NS).sum()) / float(end_ns.max() + THINK_NS)
    assert busy <= clients * (1 + 1e-9)
    assert busy >= 0.75 * clients, "all clients are busy until the last wave runs out"
