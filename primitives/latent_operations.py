"""The operations of latent attention (MLA): dense, or over the tokens that an indexer picks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import LatentAttention
from servecast.primitives.operations import (
    DecodeAttention,
    Gemm,
    Operation,
    PrefillAttention,
    Quantity,
    SparseAttention,
)


def latent_decode(
    mixer: LatentAttention, sequences: int, context: Quantity, kv_dtype: Dtype,
    products: tuple[Gemm, ...],
) -> Operation:  # fmt: skip
    """Attention of a decode group; `products` are the layer's projections of its tokens."""
    attended = DecodeAttention(
        sequences, context, mixer.heads, 1, mixer.latent_dim, mixer.kv_lora_rank, kv_dtype, True,
        window=mixer.index_topk,
    )  # fmt: skip
    if mixer.index_topk is None:
        return attended
    indexer = None
    if mixer.index_heads:
        indexer = DecodeAttention(
            sequences, context, mixer.index_heads, 1, mixer.index_head_dim, 0, Dtype.FP8, True
        )
    return SparseAttention(attended, indexer, kv_dtype, products)


def latent_prefill(
    mixer: LatentAttention, new_tokens: Quantity, past_tokens: Quantity, kv_dtype: Dtype,
    products: tuple[Gemm, ...],
) -> Iterator[Operation]:  # fmt: skip
    """Attention of one prefill chunk; `products` are the layer's projections of its tokens.

    Earlier latents are expanded to keys and values again, then attended as plain heads. Sparse
    attention reads the latents themselves, of which its indexer has scored every pair before.
    """
    query = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim
    attended = PrefillAttention(
        new_tokens, past_tokens, mixer.heads, mixer.heads, query, mixer.v_head_dim, Dtype.BF16,
        mixer.index_topk,
    )  # fmt: skip
    if mixer.index_topk is not None:
        indexer = None
        if mixer.index_heads:
            indexer = PrefillAttention(
                new_tokens, past_tokens, mixer.index_heads, 1, mixer.index_head_dim, 0, Dtype.FP8
            )
        yield SparseAttention(attended, indexer, kv_dtype, products)
        return
    if np.any(past_tokens):
        expanded = mixer.heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
        yield Gemm(past_tokens, expanded, mixer.kv_lora_rank, Dtype.BF16)
    yield attended
