"""The memory of an engine whose KV pool is stated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import InputError
from servecast.primitives.stated_pool import stated_pool
from tests.toy_deployments import DENSE

STATED = replace(DENSE, engine="sglang", num_gpu_blocks_override=1000)


def test_requests_can_hold_every_page() -> None:
    pool = stated_pool(STATED)
    assert pool.num_gpu_blocks == pool.equivalent_blocks(500) == 1000
    assert pool.shortfall() is None


def test_weights_and_pool_have_to_fit_the_device_together() -> None:
    pool = stated_pool(STATED)
    left = pool.total_bytes - pool.weights_bytes
    most = left // pool.geometry.bytes_per_block
    assert stated_pool(replace(STATED, num_gpu_blocks_override=most)).shortfall() is None
    told = stated_pool(replace(STATED, num_gpu_blocks_override=most + 1)).shortfall()
    assert told is not None
    assert "the KV pool" in told


def test_weights_that_leave_nothing_do_not_fit() -> None:
    told = stated_pool(replace(STATED, num_gpu_blocks_override=0)).shortfall()
    assert told is not None
    assert "nothing is left" in told


def test_a_pool_that_nobody_states_is_refused() -> None:
    with pytest.raises(InputError, match="sglang measures on its GPU"):
        stated_pool(replace(STATED, num_gpu_blocks_override=None))
