"""Recurrent mixers by their published dimensions: how many weights and how much state each has."""

from __future__ import annotations

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import DeltaHeads, LinearAttention


def gated_delta_net(
    hidden: int,
    *,
    key_heads: int,
    value_heads: int,
    key_dim: int,
    value_dim: int,
    kernel: int,
    state_dtype: str = Dtype.BF16,
) -> LinearAttention:
    """The gated delta net of Qwen3-Next and Qwen3.5: state of `key_dim × value_dim` per value head.

    Weights: query, key, value and output gate, the two gates per value head, the convolution over
    query, key and value, and the projection back. The state is kept as activations are, where the
    model's file does not say `mamba_ssm_dtype`.
    """
    keys, values = key_heads * key_dim, value_heads * value_dim
    mixed = 2 * keys + values
    return LinearAttention(
        projection_params=hidden * (mixed + values + 2 * value_heads)
        + mixed * kernel
        + values * hidden,
        state_elements=value_heads * key_dim * value_dim,
        convolution_elements=mixed * (kernel - 1),
        state_dtype=Dtype(state_dtype),
        delta=DeltaHeads(key_heads, value_heads, key_dim, value_dim),
    )


def mamba2(
    hidden: int,
    *,
    heads: int,
    head_dim: int,
    groups: int,
    state: int,
    kernel: int,
    state_dtype: str = Dtype.FP32,
) -> LinearAttention:
    """Mamba-2 as in Nemotron-H: a state of `head_dim × state` per head.

    Weights: gate, input, the input and output maps of each group, a step size per head, the
    convolution with its bias, and the projection back. The state is kept in fp32, where the model's
    file does not say `mamba_ssm_cache_dtype`.
    """
    inner = heads * head_dim
    mixed = inner + 2 * groups * state
    return LinearAttention(
        projection_params=hidden * (inner + mixed + heads) + mixed * (kernel + 1) + inner * hidden,
        state_elements=inner * state,
        convolution_elements=mixed * (kernel - 1),
        state_dtype=Dtype(state_dtype),
        writes_checkpoints=True,
    )


def kimi_delta(hidden: int, *, heads: int, head_dim: int, kernel: int) -> LinearAttention:
    """Kimi delta attention with a full-rank output gate: a state of `head_dim²` per head.

    Weights: query, key, value, output gate, a low-rank decay, one gate per head, three
    convolutions, and the projection back. The state is kept in fp32.
    """
    inner = heads * head_dim
    decay = head_dim * (hidden + inner)
    return LinearAttention(
        projection_params=hidden * (4 * inner + heads)
        + decay
        + 3 * inner * kernel
        + inner * hidden,
        state_elements=inner * head_dim,
        convolution_elements=3 * inner * (kernel - 1),
        writes_checkpoints=True,
    )
