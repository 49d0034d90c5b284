"""Ideal seconds of what is measured: what the time of large calls goes with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import TableKey
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.operations import DecodeAttention, Gemm, Operation, PrefillAttention
from servecast.primitives.table_kinds import KINDS, operation_of, resized
from servecast.primitives.utilisation import Floats
from servecast.profiler.probe import COLLECTIVES, GROWING

Sizes = Mapping[str, Floats]
Counted = Iterator[tuple[Floats | int, Operation]]
"""Operations with how often they run."""


def ideal_work(key: TableKey, sizes: Sizes, device: Accelerator) -> Floats:
    """Ideal seconds at these sizes, one array each; where no formula is known, what grows."""
    kind = KINDS.get(key.operation)
    if kind is not None and key.operation not in COLLECTIVES:  # not every device has a link
        site = tuple(int(sizes[name][0]) for name in kind.site)
        at = tuple(sizes[name] for name in kind.growing)
        return ideal_s(resized(operation_of(key), site, at), device)
    composed = _COMPOSED.get(key.operation)
    if composed is None:
        (growing,) = GROWING[key.operation]
        return sizes[growing]
    total = np.zeros(np.broadcast_shapes(*(np.shape(size) for size in sizes.values())))
    for count, operation in composed(sizes, Dtype(key.dtype)):
        total = total + count * ideal_s(operation, device)
    return total


def _verify(sizes: Sizes, dtype: Dtype) -> Counted:
    queries = sizes["queries"]
    past = sizes["context_tokens"] - queries
    yield sizes["batch"], _prompt(sizes, queries, past, dtype)


def _mixed(sizes: Sizes, dtype: Dtype) -> Counted:
    chunk = _prompt(sizes, sizes["new_tokens"], sizes["past_tokens"], dtype)
    tokens = sizes["sequences"] * sizes["context_tokens"]
    width = chunk.head_dim
    yield 1, chunk
    yield 1, DecodeAttention(1, tokens, chunk.heads, chunk.kv_heads, width, width, dtype)


def _block_sparse(sizes: Sizes, dtype: Dtype) -> Counted:
    tokens = sizes["tokens"]
    yield sizes["density_percent"] / 100, _prompt(sizes, tokens, 0 * tokens, dtype)


def _model_step(sizes: Sizes, dtype: Dtype) -> Counted:
    """A whole step of a plain decoder; every query's logits are wanted."""
    own = {name: int(sizes[name][0]) for name in ("hidden", "heads", "kv_heads", "head_dim")}
    layers, width, vocab = (int(sizes[name][0]) for name in ("layers", "width", "vocab"))
    hidden, outer = own["hidden"], own["heads"] * own["head_dim"]
    rows = sizes["sequences"] * sizes["queries"]
    fused = outer + 2 * own["kv_heads"] * own["head_dim"]
    for n, k in ((fused, hidden), (hidden, outer), (2 * width, hidden), (hidden, width)):
        yield layers, Gemm(rows, n, k, dtype)
    yield 1, Gemm(rows, vocab, hidden, dtype)
    for count, operation in _verify({**sizes, "batch": sizes["sequences"]}, dtype):
        yield count * layers, operation


def _prompt(sizes: Sizes, new: Floats, past: Floats, dtype: Dtype) -> PrefillAttention:
    heads, kv_heads, width = (int(sizes[name][0]) for name in ("heads", "kv_heads", "head_dim"))
    return PrefillAttention(new, past, heads, kv_heads, width, width, dtype)


_COMPOSED: Mapping[str, Callable[[Sizes, Dtype], Counted]] = {
    "verify_attention": _verify,
    "mixed_attention": _mixed,
    "block_sparse_attention": _block_sparse,
    "model_step": _model_step,
}
"""Operations that tables are not read for, as those that they are."""
