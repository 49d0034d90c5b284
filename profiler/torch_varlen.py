"""Attention over sequences of unequal lengths in one call: FlashAttention's, on CUDA."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import ModuleType

from servecast.profiler.torch_tensors import Kernel, Tensor

MODULE = "torch.nn.attention.varlen"


def mixed(sizes: Mapping[str, int]) -> Kernel:
    """A chunk with its past and the decodes beside it: one call."""
    decodes = sizes["sequences"]
    queries = [sizes["new_tokens"], *[1] * decodes]
    keys = [sizes["past_tokens"] + sizes["new_tokens"], *[sizes["context_tokens"]] * decodes]
    return _ragged(sizes, queries, keys, (-1, 0))


def windowed(sizes: Mapping[str, int]) -> Kernel:
    """A prompt chunk of which every token sees itself and the window's others before it."""
    reach = sizes["window"] - 1
    keys = min(sizes["past_tokens"], reach) + sizes["new_tokens"]
    return _ragged(sizes, [sizes["new_tokens"]], [keys], (reach, 0))


def _ragged(
    sizes: Mapping[str, int], queries: list[int], keys: list[int], window: tuple[int, int]
) -> Kernel:
    heads, kv_heads, width = sizes["heads"], sizes["kv_heads"], sizes["head_dim"]
    longest = max(queries), max(keys)

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        return [
            torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
            for lengths in (queries, keys)
        ]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, ends, key_ends, key, value = tensors
        return importlib.import_module(MODULE).varlen_attn(
            query, key, value, ends, key_ends, *longest,
            window_size=window, enable_gqa=heads != kv_heads,
        )  # fmt: skip

    cached = (sum(keys), kv_heads, width)
    return Kernel(((sum(queries), heads, width),), (cached, cached), call, made)
