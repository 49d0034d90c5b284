"""From a model and its sharding to the operations of one step on one rank.

A step's cost separates into four parts, each a function of few numbers: what every token passes
(projections, feed-forward, norms, collectives), what every sampled sequence passes (the head), the
decode group's attention, and each prefill chunk's attention.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LinearAttention,
    Mixer,
    MoeFfn,
)
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    DecodeAttention,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
)

Counted = Iterator[tuple[int, Operation]]
"""Operations with how often the step runs each."""


def _share(width: int, ranks: int) -> int:
    return max(1, -(-width // ranks))


def token_operations(deployment: Deployment, tokens: Quantity) -> Counted:
    """What `tokens` tokens pass in all layers, attention scores aside."""
    model, tp = deployment.model, deployment.tensor_parallel_size
    row = tokens * model.hidden * ACTIVATION_BYTES
    yield 1, Elementwise(2 * row)  # embedding
    for group in model.layers:
        for part in (group.mixer, group.ffn):
            if part is None:
                continue
            yield group.count, Elementwise(4 * row)  # residual add and norm
            inner = (
                _ffn_operations(deployment, part, tokens)
                if isinstance(part, DenseFfn | MoeFfn)
                else _mixer_operations(deployment, part, tokens)
            )
            for operation in inner:
                yield group.count, operation
            if tp > 1:
                yield group.count, AllReduce(row, tp)


def _mixer_operations(
    deployment: Deployment, mixer: Mixer, tokens: Quantity
) -> Iterator[Operation]:
    hidden, tp, dtype = (
        deployment.model.hidden,
        deployment.tensor_parallel_size,
        deployment.weights_dtype,
    )
    match mixer:
        case Attention():
            heads, kv_heads = _share(mixer.heads, tp), _share(mixer.kv_heads, tp)
            qk = (heads + kv_heads) * mixer.head_dim
            yield Gemm(tokens, qk + kv_heads * mixer.value_dim, hidden, dtype)
            yield Elementwise(tokens * 2 * qk * ACTIVATION_BYTES)  # rotary embedding, cache write
            yield Gemm(tokens, hidden, heads * mixer.value_dim, dtype)
        case LatentAttention():
            yield from _latent_operations(deployment, mixer, tokens)
        case LinearAttention():
            width = _share(mixer.projection_params, hidden * tp)
            yield Gemm(tokens, width, hidden, dtype)
            yield Elementwise(tokens * 2 * width * ACTIVATION_BYTES)


def _latent_operations(
    deployment: Deployment, mixer: LatentAttention, tokens: Quantity
) -> Iterator[Operation]:
    hidden, tp, dtype = (
        deployment.model.hidden,
        deployment.tensor_parallel_size,
        deployment.weights_dtype,
    )
    heads = _share(mixer.heads, tp)
    query = heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim)
    if mixer.q_lora_rank is None:
        yield Gemm(tokens, query + mixer.latent_dim, hidden, dtype)
    else:
        yield Gemm(tokens, mixer.q_lora_rank + mixer.latent_dim, hidden, dtype)
        yield Gemm(tokens, query, mixer.q_lora_rank, dtype)
    expand = heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    yield Gemm(tokens, expand, mixer.kv_lora_rank, dtype)
    if mixer.index_topk is not None:
        yield Gemm(tokens, mixer.index_heads * mixer.index_head_dim, hidden, dtype)
    yield Elementwise(tokens * 2 * (query + mixer.latent_dim) * ACTIVATION_BYTES)
    yield Gemm(tokens, hidden, heads * mixer.v_head_dim, dtype)


def _ffn_operations(deployment: Deployment, ffn: Ffn, tokens: Quantity) -> Iterator[Operation]:
    hidden, tp = deployment.model.hidden, deployment.tensor_parallel_size
    if isinstance(ffn, DenseFfn):
        yield from _dense_operations(deployment, ffn.width, ffn.gated, tokens)
        return
    yield Gemm(tokens, ffn.experts, hidden, Dtype.BF16)  # router, replicated
    parallel = deployment.enable_expert_parallel
    yield MoeExperts(
        tokens=tokens,
        experts=ffn.experts,
        local_experts=_share(ffn.experts, tp) if parallel else ffn.experts,
        experts_per_token=ffn.experts_per_token,
        hidden=hidden,
        width=ffn.width if parallel else _share(ffn.width, tp),
        matrices=3 if ffn.gated else 2,
        dtype=deployment.weights_dtype,
    )
    if ffn.shared_width:
        yield from _dense_operations(deployment, ffn.shared_width, ffn.gated, tokens)


def _dense_operations(
    deployment: Deployment, width: int, gated: bool, tokens: Quantity
) -> Iterator[Operation]:
    hidden, dtype = deployment.model.hidden, deployment.weights_dtype
    local = _share(width, deployment.tensor_parallel_size)
    up = 2 * local if gated else local
    yield Gemm(tokens, up, hidden, dtype)
    yield Elementwise(tokens * (up + local) * ACTIVATION_BYTES)
    yield Gemm(tokens, hidden, local, dtype)


def head_operations(deployment: Deployment, sequences: Quantity) -> Counted:
    """The language-model head and the sampler, for every sequence that samples a token."""
    model, tp = deployment.model, deployment.tensor_parallel_size
    yield 1, Gemm(sequences, _share(model.vocab, tp), model.hidden, Dtype.BF16)
    if tp > 1:
        yield 1, AllReduce(sequences * model.vocab * ACTIVATION_BYTES / 2, tp)  # gather of logits
    yield 1, Elementwise(sequences * model.vocab * 3 * 4)  # fp32 logits: cast, penalties, sample


def decode_operations(
    deployment: Deployment, sequences: int, context_tokens: Quantity, fill: float = 1.0
) -> Counted:
    """Attention of a decode group of `sequences` with mean context `context_tokens`.

    `fill` is the share of a sliding window's clipped mean that is really cached, below one where
    some contexts of the group are shorter than the window and others longer (Jensen's gap).
    """
    tp, kv_dtype = deployment.tensor_parallel_size, deployment.kv_cache_dtype
    for group in deployment.model.layers:
        match group.mixer:
            case Attention() as a:
                context = context_tokens + 1.0
                if a.window is not None:
                    context = np.minimum(context, float(a.window)) * fill
                yield group.count, DecodeAttention(
                    sequences, context, _share(a.heads, tp), _share(a.kv_heads, tp),
                    a.head_dim, a.value_dim, kv_dtype,
                )  # fmt: skip
            case LatentAttention() as a:
                for operation in _latent_decode(a, sequences, context_tokens + 1.0, tp, kv_dtype):
                    yield group.count, operation
            case LinearAttention() as a:
                state = _share(a.state_elements, tp) * 4.0
                yield group.count, Elementwise(2 * sequences * state + 0.0 * context_tokens)
            case None:
                pass


def _latent_decode(
    mixer: LatentAttention, sequences: int, context: Quantity, tp: int, kv_dtype: Dtype
) -> Iterator[Operation]:
    heads = _share(mixer.heads, tp)
    attended = context
    if mixer.index_topk is not None:
        attended = np.minimum(context, float(mixer.index_topk))
        yield DecodeAttention(
            sequences, context, mixer.index_heads, 1, mixer.index_head_dim, 0, Dtype.FP8, True
        )
    yield DecodeAttention(
        sequences, attended, heads, 1, mixer.latent_dim, mixer.kv_lora_rank, kv_dtype, True
    )


def prefill_operations(
    deployment: Deployment, new_tokens: Quantity, past_tokens: Quantity
) -> Counted:
    """Attention of one prefill chunk over itself and the tokens cached before it."""
    tp, kv_dtype = deployment.tensor_parallel_size, deployment.kv_cache_dtype
    for group in deployment.model.layers:
        match group.mixer:
            case Attention() as a:
                yield group.count, PrefillAttention(
                    new_tokens, past_tokens, _share(a.heads, tp), _share(a.kv_heads, tp),
                    a.head_dim, a.value_dim, kv_dtype, a.window,
                )  # fmt: skip
            case LatentAttention() as a:
                heads = _share(a.heads, tp)
                expand = heads * (a.qk_nope_head_dim + a.v_head_dim)
                yield group.count, Gemm(past_tokens, expand, a.kv_lora_rank, Dtype.BF16)
                yield group.count, PrefillAttention(
                    new_tokens, past_tokens, heads, heads,
                    a.qk_nope_head_dim + a.qk_rope_head_dim, a.v_head_dim, Dtype.BF16, a.index_topk,
                )  # fmt: skip
            case LinearAttention() as a:
                state = _share(a.state_elements, tp) * 4.0
                yield group.count, Elementwise(2 * state + 0.0 * new_tokens)
            case None:
                pass
