"""The options that start the engine as it was simulated."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.dtype import Dtype
from servecast.search.serve_command import parse
from servecast.search.vllm_arguments import arguments, words
from tests.emitted_cases import BLOCKS, DEPLOYMENT, MODEL, assert_same_limits


@given(
    max_model_len=st.integers(1, 10**7),
    seqs=st.integers(1, 8192),
    tokens=st.integers(8192, 10**6),
    tp=st.sampled_from([1, 2, 4, 8]),
    utilization=st.floats(0.01, 1.0),
    block_size=st.sampled_from([1, 16, 64, 128]),
    weights=st.sampled_from([Dtype.BF16, Dtype.FP16, Dtype.FP8]),
    kv_cache=st.sampled_from([Dtype.BF16, Dtype.FP16, Dtype.FP8, Dtype.NVFP4]),
    blocks=st.integers(2, 10**7),
)
def test_the_emitted_options_parse_back_to_the_very_limits(
    max_model_len: int,
    seqs: int,
    tokens: int,
    tp: int,
    utilization: float,
    block_size: int,
    weights: Dtype,
    kv_cache: Dtype,
    blocks: int,
) -> None:
    deployment = dataclasses.replace(
        DEPLOYMENT,
        max_model_len=max_model_len,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        tensor_parallel_size=tp,
        gpu_memory_utilization=utilization,
        block_size=block_size,
        weights_dtype=weights,
        kv_cache_dtype=kv_cache,
    )
    command = shlex.join(["vllm", "serve", "m", *words(arguments(deployment, blocks))])
    assert_same_limits(parse(command), deployment, blocks)


def test_who_goes_first_and_how_far_is_emitted_as_simulated() -> None:
    deployment = dataclasses.replace(
        DEPLOYMENT,
        scheduling_policy="priority",
        long_prefill_token_threshold=512,
        long_prefill_token_threshold_adaptive=True,
    )
    command = parse(shlex.join(["vllm", "serve", "m", *words(arguments(deployment, BLOCKS))]))
    assert command.scheduling_policy == "priority"
    assert command.long_prefill_token_threshold == 512
    assert command.long_prefill_token_threshold_adaptive
    plain = words(arguments(DEPLOYMENT, BLOCKS))
    assert plain[plain.index("--scheduling-policy") + 1] == "fcfs"
    assert "--long-prefill-token-threshold" not in plain


def test_an_engine_that_is_not_simulated_is_unsupported_not_just_wrong() -> None:
    with pytest.raises(UnsupportedError):
        arguments(dataclasses.replace(DEPLOYMENT, engine="trtllm"), BLOCKS)


@pytest.mark.parametrize(
    ("published", "served", "expected"),
    [
        (Dtype.BF16, Dtype.BF16, ["--dtype", "bfloat16"]),
        (Dtype.BF16, Dtype.FP16, ["--dtype", "float16"]),
        (Dtype.BF16, Dtype.FP8, ["--dtype", "bfloat16", "--quantization", "fp8_per_tensor"]),
        (Dtype.FP8, Dtype.FP8, ["--dtype", "auto"]),
        (Dtype.MXFP4, Dtype.MXFP4, ["--dtype", "auto"]),
    ],
)
def test_weights_are_converted_only_where_the_checkpoint_is_published_otherwise(
    published: Dtype, served: Dtype, expected: list[str]
) -> None:
    deployment = dataclasses.replace(
        DEPLOYMENT,
        model=dataclasses.replace(MODEL, weights_dtype=published),
        weights_dtype=served,
    )
    options = words(arguments(deployment, BLOCKS))
    first = options.index("--dtype")
    assert options[first : options.index("--kv-cache-dtype")] == expected
