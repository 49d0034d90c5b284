"""vLLM with KV caches from elsewhere, against transfers computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.host_time import HostTime
from servecast.primitives.kv_cache_geometry import kv_cache_geometry
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.sharding import Sharding
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.result import Result
from servecast.timewarp.emulate import emulate
from servecast.timewarp.remote_kv import Link
from servecast.timewarp.remote_kv_run import emulate_disaggregated, emulate_with_store
from servecast.timewarp.vllm_replica import Node
from tests.emulated_options import options
from tests.timewarp.emulated_cases import PLAIN, burst, requests

pytestmark = pytest.mark.engine(name="vllm")

DEPLOYMENT = replace(PLAIN, max_model_len=8192, max_num_batched_tokens=8192)
GEOMETRY = kv_cache_geometry(DEPLOYMENT.model, Sharding(), DEPLOYMENT.kv_cache_dtype)
LINK = Link(25e9, GEOMETRY.bytes_per_token)
COST = CompiledStepCost(DEPLOYMENT, RooflineSource(), HostTime())
ALONE = requests([0.0, 0.5, 1.0], [4096], [20])


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def node(num_gpu_blocks: int = 2001) -> Node:
    limited = replace(DEPLOYMENT, num_gpu_blocks_override=num_gpu_blocks)
    return Node(limited, options(limited, ALONE), COST)


def chunk_ns(new_tokens: int, past_tokens: int) -> int:
    """A step of one prompt chunk."""
    return sum(COST.step(Batch((Group(new_tokens, 1, past_tokens),))))


def ttft_ns(result: Result) -> list[int]:
    times: list[int] = np.asarray(result.records.ttft_ns).tolist()
    return times


def test_a_prefix_from_a_store_costs_its_transfer_instead_of_its_computation() -> None:
    transfer_ns = round(4000 * 131_072 / 25e9 * 1e9)
    assert LINK.ns(4000) == transfer_ns == 20_971_520
    near = node()
    plain = emulate(near.deployment, ALONE, near.options, COST).result
    fetched = emulate_with_store(near, ALONE, LINK, lambda index: 4000)
    assert ttft_ns(plain) == [chunk_ns(4096, 0)] * 3
    assert ttft_ns(fetched) == [transfer_ns + chunk_ns(96, 4000)] * 3
    assert ttft_ns(fetched)[0] < ttft_ns(plain)[0] / 2
    assert np.asarray(fetched.records.cached_tokens).tolist() == [4000] * 3


def test_a_store_that_holds_nothing_changes_nothing() -> None:
    near = node()
    plain = emulate(near.deployment, ALONE, near.options, COST).result
    empty = emulate_with_store(near, ALONE, LINK, lambda index: 0)
    assert ttft_ns(empty) == ttft_ns(plain)


def test_transfers_of_a_burst_queue_on_the_link() -> None:
    result = emulate_with_store(node(), burst(3, [4096], [2]), LINK, lambda index: 4000)
    first, second, third = sorted(ttft_ns(result))
    assert first >= LINK.ns(4000)
    assert third >= 3 * LINK.ns(4000)
    assert first < second < third


def test_a_prompt_computed_elsewhere_adds_its_transfer_and_one_token() -> None:
    result = emulate_disaggregated(node(), node(), ALONE, LINK)
    expected = chunk_ns(4096, 0) + LINK.ns(4096) + chunk_ns(1, 4095)
    assert ttft_ns(result) == [expected] * 3


def test_two_engines_do_not_disturb_each_other_s_steps() -> None:
    crowd = burst(40, [1000, 3000], [50])
    near = node()
    together = emulate(near.deployment, crowd, near.options, COST).result
    apart = emulate_disaggregated(near, near, crowd, LINK)
    assert len(apart.records) == 40
    longest = [np.asarray(each.records.tpot_ns).max() for each in (together, apart)]
    assert longest[1] < longest[0]


def test_blocks_are_kept_until_they_are_fetched() -> None:
    crowd = burst(40, [1000, 3000], [50])
    slow = Link(1e9, GEOMETRY.bytes_per_token)
    roomy = emulate_disaggregated(node(8001), node(8001), crowd, slow)
    tight = emulate_disaggregated(node(600), node(8001), crowd, slow)
    again = emulate_disaggregated(node(600), node(8001), crowd, slow)
    assert tight.peak_blocks < roomy.peak_blocks / 2  # prompts wait where they are computed
    assert ttft_ns(tight) == ttft_ns(again)
