"""The bytes of a request's cache that cross: by blocks, heads, latents, states and stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_payload import kv_payload
from servecast.primitives.model import LatentAttention, LinearAttention
from tests.toy_deployments import DENSE, FFN, FULL, SLIDING, WINDOWED, toy_deployment

TOKEN_BYTES = 16 * 8 * 2 * 128 * 2
"""Of `DENSE`: 16 layers, 8 KV heads, a key and a value of 128, in bf16."""
LATENT = LatentAttention(16, None, 512, 128, 64, 128)
sizes = st.sampled_from((1, 2, 4, 8, 16, 32))


def cut(deployment: Deployment, tp: int, pp: int = 1) -> Deployment:
    return replace(deployment, tensor_parallel_size=tp, pipeline_parallel_size=pp)


def test_whole_blocks_cross() -> None:
    assert kv_payload(DENSE, DENSE, 160).received_bytes == 160 * TOKEN_BYTES
    assert kv_payload(DENSE, DENSE, 161).received_bytes == 176 * TOKEN_BYTES


def test_each_rank_receives_its_heads_from_however_many_senders() -> None:
    payload = kv_payload(cut(DENSE, 4), cut(DENSE, 8), 1600)
    assert payload.receiver_bytes == 1600 * TOKEN_BYTES // 8
    assert payload.sender_bytes == 1600 * TOKEN_BYTES // 4


def test_heads_scarcer_than_ranks_cross_once_for_each_rank() -> None:
    payload = kv_payload(cut(DENSE, 8), cut(DENSE, 32), 1600)
    assert payload.received_bytes == 4 * 1600 * TOKEN_BYTES


def test_copies_at_the_sender_share_the_work() -> None:
    payload = kv_payload(cut(DENSE, 32), cut(DENSE, 8), 1600)
    assert payload.sender_bytes == 1600 * TOKEN_BYTES // 32
    assert payload.received_bytes == 1600 * TOKEN_BYTES


def test_a_latent_crosses_once_for_each_receiving_rank() -> None:
    latent = toy_deployment((10, LATENT, FFN))
    whole = 10 * 576 * 2 * 1600
    assert kv_payload(cut(latent, 8), latent, 1600).received_bytes == whole
    assert kv_payload(cut(latent, 8), cut(latent, 4), 1600).received_bytes == 4 * whole


def test_data_parallel_ranks_fetch_only_their_own_requests() -> None:
    wide = replace(cut(DENSE, 2), data_parallel_size=8)
    assert kv_payload(DENSE, wide, 1600) == kv_payload(DENSE, cut(DENSE, 2), 1600)


def test_a_stage_sends_its_own_layers() -> None:
    payload = kv_payload(cut(DENSE, 2, pp=4), cut(DENSE, 2), 1600)
    assert (payload.layers, payload.stages, payload.sender_ranks) == (4, 4, 8)
    assert payload.sender_bytes == 1600 * TOKEN_BYTES // 8


def test_a_window_crosses_without_what_has_left_it() -> None:
    short, long = (kv_payload(WINDOWED, WINDOWED, tokens) for tokens in (1600, 3200))
    layer_bytes = TOKEN_BYTES // 16
    assert long.received_bytes - short.received_bytes == 1600 * 4 * layer_bytes
    window = toy_deployment((16, SLIDING, FFN))
    assert kv_payload(window, window, 32).received_bytes == 32 * TOKEN_BYTES
    assert kv_payload(window, window, 3200).received_bytes == 80 * TOKEN_BYTES


def test_padding_of_groups_does_not_cross() -> None:
    """Thirteen windows beside four full layers: groups of four, the last with one layer in it."""
    padded = toy_deployment((13, SLIDING, FFN), (4, FULL, FFN))
    even = toy_deployment((12, SLIDING, FFN), (4, FULL, FFN))
    more, less = (kv_payload(each, each, 3200).received_bytes for each in (padded, even))
    window = kv_payload(one := toy_deployment((1, SLIDING, FFN)), one, 3200).received_bytes
    assert more - less == window


def test_a_state_crosses_once_whatever_the_length() -> None:
    mamba = LinearAttention(projection_params=1000, state_elements=4096)
    states = toy_deployment((12, mamba, FFN))
    assert kv_payload(states, states, 10).received_bytes == 12 * 4096 * 4
    assert kv_payload(states, states, 4000).received_bytes == 12 * 4096 * 4
    cached = replace(states, enable_prefix_caching=True)
    assert kv_payload(cached, cached, 10).received_bytes == 12 * 4096 * 4


def test_feed_forward_layers_are_not_sent() -> None:
    alone = toy_deployment((16, FULL, FFN), (5, None, FFN))
    assert kv_payload(alone, alone, 160) == kv_payload(DENSE, DENSE, 160)


def test_another_checkpoint_of_the_same_model_is_the_same_cache() -> None:
    small = replace(DENSE, model=replace(DENSE.model, name="toy-fp8", weights_dtype=Dtype.FP8))
    assert kv_payload(DENSE, small, 160) == kv_payload(DENSE, DENSE, 160)


def test_caches_that_differ_in_kind_are_refused() -> None:
    other = replace(DENSE, model=model("Qwen/Qwen3-8B"))
    with pytest.raises(InputError, match="of no use to Qwen/Qwen3-8B"):
        kv_payload(DENSE, other, 100)
    with pytest.raises(InputError, match="bf16 cannot be read as fp8"):
        kv_payload(DENSE, replace(DENSE, kv_cache_dtype=Dtype.FP8), 100)


@given(sizes, sizes, st.integers(1, 4000))
def test_what_leaves_is_what_arrives(sending: int, receiving: int, tokens: int) -> None:
    payload = kv_payload(cut(DENSE, sending), cut(DENSE, receiving), tokens)
    sent = payload.sender_bytes * payload.sender_ranks
    assert payload.received_bytes <= sent < payload.received_bytes + payload.sender_ranks


@given(sizes, sizes, st.integers(1, 4000))
def test_a_longer_prompt_is_never_fewer_bytes(sending: int, receiving: int, tokens: int) -> None:
    for deployment in (DENSE, WINDOWED):
        sender, receiver = cut(deployment, sending), cut(deployment, receiving)
        short, long = (kv_payload(sender, receiver, n) for n in (tokens, tokens + 1))
        assert short.received_bytes <= long.received_bytes
