"""What SGLang allows a replica and a request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.policy import SglangPolicy
from servecast.simulator.sglang_limits import most_output, output_room, sglang_limits
from servecast.traces.workload import Workload
from tests.toy_deployments import DENSE

SGLANG = replace(
    DENSE,
    engine="sglang",
    policy=SglangPolicy(),
    max_model_len=1000,
    max_num_seqs=64,
    max_num_batched_tokens=128,
    block_size=16,
    num_gpu_blocks_override=50,
)


def prompts(*tokens: int) -> Workload:
    count = len(tokens)
    ones = np.ones(count, dtype=np.int64)
    return Workload("prompts", np.zeros(count, dtype=np.int64), np.array(tokens), ones, ones)


def test_no_request_is_longer_than_the_pool() -> None:
    assert sglang_limits(SGLANG).max_model_len == 800
    assert sglang_limits(replace(SGLANG, num_gpu_blocks_override=100)).max_model_len == 1000


def test_a_request_ends_two_tokens_before_the_model_length() -> None:
    roomy = sglang_limits(replace(SGLANG, num_gpu_blocks_override=1000))
    assert most_output(roomy, 100) == 898


def test_a_page_and_a_token_of_the_pool_are_kept() -> None:
    """A prompt of 100 takes seven pages of fifty, and one is kept: 42 of 16 tokens, less one."""
    assert most_output(sglang_limits(SGLANG), 100) == 671


def test_a_prompt_leaves_seven_tokens_or_is_refused() -> None:
    roomy = sglang_limits(replace(SGLANG, num_gpu_blocks_override=1000))
    assert output_room(roomy, prompts(993, 994)).tolist() == [5, 0]


def test_more_may_run_than_a_step_computes_prompt_tokens() -> None:
    assert sglang_limits(replace(SGLANG, max_num_seqs=500)).max_num_seqs == 500


def test_a_mixed_step_must_hold_a_token_of_each() -> None:
    mixed = replace(SGLANG, max_num_seqs=500, policy=SglangPolicy(enable_mixed_chunk=True))
    with pytest.raises(InputError, match="500 requests may run, and a mixed step computes 128"):
        sglang_limits(mixed)


def test_chunks_are_whole_pages() -> None:
    with pytest.raises(InputError, match="130 is no multiple of the page size 16"):
        sglang_limits(replace(SGLANG, max_num_batched_tokens=130))


def test_the_pool_must_be_stated() -> None:
    with pytest.raises(InputError, match="size of the KV pool is not given"):
        sglang_limits(replace(SGLANG, num_gpu_blocks_override=None))
