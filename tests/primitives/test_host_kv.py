"""How many KV blocks a host has room for, and how long one is on its way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_kv import HostKv, host_kv
from servecast.primitives.memory import ledger
from tests.toy_deployments import DENSE

BLOCK_BYTES = 16 * 2 * 8 * 128 * 2 * 16
"""Layers, K and V, heads, their size, bytes and tokens of the toy's block."""


def of(deployment: Deployment) -> HostKv:
    found = host_kv(deployment, ledger(deployment))
    assert found is not None
    return found


def test_without_a_size_there_is_none() -> None:
    assert host_kv(DENSE, ledger(DENSE)) is None


def test_a_block_is_that_of_all_ranks_and_each_rank_moves_its_own_part() -> None:
    one = replace(DENSE, kv_offloading_size=1.0, host_gb_per_s=10.0)
    assert of(one) == HostKv(2**30 // BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES / 10, BLOCK_BYTES / 10)
    four = of(replace(one, tensor_parallel_size=4))
    assert (four.blocks, four.block_bytes) == (2**30 // BLOCK_BYTES, BLOCK_BYTES)
    assert four.to_gpu_block_ns == BLOCK_BYTES / 4 / 10


def test_a_latent_cache_is_kept_once_and_moved_by_every_rank() -> None:
    latent = replace(
        DENSE,
        model=model("deepseek-ai/DeepSeek-V3"),
        tensor_parallel_size=8,
        kv_offloading_size=10.0,
        host_gb_per_s=10.0,
    )
    one = ledger(latent).geometry.bytes_per_block
    assert of(latent).blocks == 10 * 2**30 // (-(-one // 4096) * 4096)
    assert of(latent).block_bytes == 8 * one


def test_blocks_are_kept_in_whole_pages() -> None:
    tiny = replace(DENSE, block_size=1, kv_offloading_size=1.0, host_gb_per_s=1.0)
    small = replace(tiny, tensor_parallel_size=8, block_size=1)
    assert of(small).blocks == 2**30 // (-(-BLOCK_BYTES // 16 // 4096) * 4096)


def test_the_rate_is_a_share_of_the_data_sheet_where_none_is_stated() -> None:
    h100 = of(replace(DENSE, accelerator=accelerator("h100_sxm"), kv_offloading_size=1.0))
    assert BLOCK_BYTES / h100.to_gpu_block_ns == pytest.approx(41.0, abs=0.1)
    assert BLOCK_BYTES / h100.to_host_block_ns == pytest.approx(44.2, abs=0.1)


def test_where_no_rate_is_known_it_is_asked_for() -> None:
    with pytest.raises(UnsupportedError, match="how fast `toy` reaches") as refused:
        of(replace(DENSE, kv_offloading_size=1.0))
    assert refused.value.hint is not None
    assert "host_gb_per_s" in refused.value.hint
