"""Attention as PyTorch's fused kernel does it: prompts, decodes, verifications, and mixed steps."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from servecast.profiler.torch_tensors import Kernel, Tensor

Sizes = Mapping[str, int]

MLA_PROMPT = (192, 128)
MLA_LATENT = (576, 512)
"""Widths of keys and of values: of a prompt's heads, and of what is cached."""


def attend(
    torch: ModuleType, tensors: Sequence[Tensor], *, causal: bool = False, grouped: bool = False
) -> object:
    """Attention of a query, a mask if there is one, a key and a value."""
    query, *mask, key, value = tensors
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, *mask, is_causal=causal and not mask, enable_gqa=grouped
    )


def lower_right(rows: int, columns: int) -> Callable[[ModuleType, str], Sequence[Tensor]]:
    """Makes a causal mask that ends in the lower right corner.

    On CUDA the name of one, which fused kernels know; elsewhere its entries.
    """

    def made(torch: ModuleType, device: str) -> Sequence[Tensor]:
        if device == "cuda":
            bias = importlib.import_module("torch.nn.attention.bias")
            return [bias.causal_lower_right(rows, columns)]
        return [torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)]

    return made


def prefill(sizes: Sizes) -> Kernel:
    """A prompt chunk over itself and its past."""
    new, keys = sizes["new_tokens"], sizes["past_tokens"] + sizes["new_tokens"]
    return _causal(sizes, sizes["batch"], new, keys)


def verify(sizes: Sizes) -> Kernel:
    """The last queries of each sequence over its cached tokens, themselves included."""
    return _causal(sizes, sizes["batch"], sizes["queries"], sizes["context_tokens"])


def _causal(sizes: Sizes, batch: int, new: int, keys: int) -> Kernel:
    queries = (batch, sizes["heads"], new, sizes["head_dim"])
    cached = (batch, sizes["kv_heads"], keys, sizes["head_dim"])
    grouped = sizes["heads"] != sizes["kv_heads"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        return attend(torch, tensors, causal=True, grouped=grouped)

    return Kernel(
        (queries,), (cached, cached), call, lower_right(new, keys) if keys > new else None
    )


def decode(sizes: Sizes) -> Kernel:
    """One query a sequence, over the cached tokens that a window leaves, if there is one."""
    batch, width, context = sizes["batch"], sizes["head_dim"], sizes["context_tokens"]
    keys = (batch, sizes["kv_heads"], min(context, sizes["window"] or context), width)
    grouped = sizes["heads"] != sizes["kv_heads"]

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        return attend(torch, tensors, grouped=grouped)

    return Kernel(((batch, sizes["heads"], 1, width),), (keys, keys), call)


def mixed(sizes: Sizes) -> Kernel:
    """A chunk, then the decodes beside it: two calls."""
    chunk, alone = (
        prefill({**sizes, "batch": 1}),
        decode({**sizes, "batch": sizes["sequences"], "window": 0}),
    )
    own = len(chunk.hot) + len(alone.hot) + (chunk.made is not None)

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, ones, *mask = tensors[:own]
        keys = tensors[own:]
        first = chunk.call(torch, [query, *mask, *keys[:2]])
        return first, alone.call(torch, [ones, *keys[2:]])

    return Kernel((*chunk.hot, *alone.hot), (*chunk.cold, *alone.cold), call, chunk.made)


def latent_prefill(sizes: Sizes) -> Kernel:
    """A prompt chunk of latent attention, keys and values expanded to its heads."""
    batch, heads, new = sizes["batch"], sizes["heads"], sizes["new_tokens"]
    keys = sizes["past_tokens"] + new
    (wide, narrow), rows = MLA_PROMPT, (batch, heads, keys)

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        return attend(torch, tensors, causal=True)

    made = lower_right(new, keys) if keys > new else None
    return Kernel(((batch, heads, new, wide),), ((*rows, wide), (*rows, narrow)), call, made)


def latent_decode(sizes: Sizes) -> Kernel:
    """Absorbed: the heads of a sequence are queries over its one cached latent, keys and values."""
    batch, (wide, narrow) = sizes["batch"], MLA_LATENT

    def call(torch: ModuleType, tensors: Sequence[Tensor]) -> object:
        query, latent = tensors
        return attend(torch, [query, latent, torch.narrow(latent, -1, 0, narrow)])

    query = (batch, 1, sizes["heads"], wide)
    return Kernel((query,), ((batch, 1, sizes["context_tokens"], wide),), call)
