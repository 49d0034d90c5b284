"""How operations lie in cost tables: which dimensions name the site, and which sizes grow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.cost_table import CostTable, TableKey
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    DecodeAttention,
    DeltaRule,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
    SparseAttention,
)
from servecast.primitives.rows import row_ids
from servecast.primitives.sites import Site

_ENDLESS = np.iinfo(np.int64).max
_MLA_PREFILL = (192, 128)
_MLA_DECODE = (576, 512)
"""Widths of keys and of values that the tables of latent attention were measured with."""

BEYOND = 1
"""Tokens by which every context beyond a sliding window exceeds it in tables: how far it really
does changes nothing (within 2 % of each other are all contexts of gpt-oss from 256 to 65,536)."""


@dataclass(frozen=True, slots=True)
class TableKind:
    """One kind of tables: the dimensions that are its site, and those that grow with the batch."""

    operation: str
    site: tuple[str, ...]
    growing: tuple[str, ...]
    rigid: frozenset[str] = frozenset()
    """Dimensions of the site that have no in-between: another value is another kernel."""


_HEADS = ("heads", "kv_heads", "head_dim", "window")
_EXPERTS = ("hidden", "width", "experts_per_token", "experts", "expert_parallel")
_DELTA = ("key_heads", "value_heads", "key_dim", "value_dim")
_SPARSE = ("heads", "hidden")
_SHAPE = frozenset({"head_dim", "window"})

GEMM = TableKind("gemm", ("n", "k"), ("m",))
PREFILL = TableKind("prefill_attention", _HEADS, ("past_tokens", "new_tokens"), _SHAPE)
DECODE = TableKind("decode_attention", _HEADS, ("batch", "context_tokens"), _SHAPE)
MLA_PREFILL = TableKind("mla_prefill", ("heads",), ("past_tokens", "new_tokens"))
MLA_DECODE = TableKind("mla_decode", ("heads",), ("batch", "context_tokens"))
DSA_PREFILL = TableKind(
    "dsa_prefill_module", _SPARSE, ("past_tokens", "new_tokens"), frozenset({"hidden"})
)
DSA_DECODE = TableKind(
    "dsa_decode_module", _SPARSE, ("batch", "context_tokens"), frozenset({"hidden"})
)
DELTA = TableKind("delta_rule", _DELTA, ("new_tokens",), frozenset({"key_dim", "value_dim"}))
MOE = TableKind("moe", _EXPERTS, ("tokens",))
_RANKS = (("ranks",), ("payload_elements",), frozenset({"ranks"}))
ALL_REDUCE = TableKind("all_reduce", *_RANKS)
ALL_GATHER = TableKind("all_gather", *_RANKS)
REDUCE_SCATTER = TableKind("reduce_scatter", *_RANKS)

KINDS = {
    kind.operation: kind
    for kind in (
        GEMM,
        PREFILL,
        DECODE,
        MLA_PREFILL,
        MLA_DECODE,
        DSA_PREFILL,
        DSA_DECODE,
        DELTA,
        MOE,
        ALL_REDUCE,
        ALL_GATHER,
        REDUCE_SCATTER,
    )
}
"""The tables that are read, by their operation."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation lies in the tables of its kind."""

    kind: TableKind
    site: Site
    at: tuple[Quantity, ...]


def place(operation: Operation) -> Place | None:
    """The operation's place; None for one that no table is read for."""
    match operation:
        case Gemm(m, n, k):
            return Place(GEMM, (n, k), (m,))
        case PrefillAttention(new_tokens, past_tokens):
            return _prefill(operation, (past_tokens, new_tokens))
        case DecodeAttention(sequences, context_tokens):
            return _decode(operation, (sequences, context_tokens))
        case SparseAttention(attended, indexer):
            return None if indexer is None else _sparse(operation, attended)
        case DeltaRule(new_tokens, key_heads, value_heads, key_dim, value_dim):
            return Place(DELTA, (key_heads, value_heads, key_dim, value_dim), (new_tokens,))
        case MoeExperts(tokens, experts, local_experts):
            site = (operation.hidden, operation.width, operation.experts_per_token, experts)
            return Place(MOE, (*site, experts // local_experts), (tokens,))
        case AllReduce(payload_bytes, ranks):
            return Place(ALL_REDUCE, (ranks,), (payload_bytes / ACTIVATION_BYTES,))
        case Collective(kind, payload_bytes, ranks, nodes):
            found = Place(KINDS[kind], (ranks,), (payload_bytes / ACTIVATION_BYTES,))
            return found if nodes == 1 else None
        case Elementwise() | Send() | ExpertExchange():
            return None


def _prefill(operation: PrefillAttention, at: tuple[Quantity, ...]) -> Place | None:
    heads, window = (operation.heads, operation.kv_heads), operation.window or 0
    if operation.head_dim == operation.value_dim:
        return Place(PREFILL, (*heads, operation.head_dim, window), at)
    is_latent = (operation.head_dim, operation.value_dim) == _MLA_PREFILL and not window
    return Place(MLA_PREFILL, heads[:1], at) if is_latent else None


def _decode(operation: DecodeAttention, at: tuple[Quantity, ...]) -> Place | None:
    heads, window = (operation.heads, operation.kv_heads), operation.window or 0
    if operation.shared_latent:
        is_latent = (operation.head_dim, operation.value_dim) == _MLA_DECODE
        reach = np.minimum(at[1], window) if window else at[1]
        return Place(MLA_DECODE, heads[:1], (at[0], reach)) if is_latent else None
    if operation.head_dim != operation.value_dim:
        return None
    if window:
        context = operation.context_tokens * operation.fill
        at = (operation.sequences, np.minimum(context, window + BEYOND))
    return Place(DECODE, (*heads, operation.head_dim, window), at)


def _sparse(operation: SparseAttention, attended: PrefillAttention | DecodeAttention) -> Place:
    site = (attended.heads, operation.hidden)
    if isinstance(attended, PrefillAttention):
        return Place(DSA_PREFILL, site, (attended.past_tokens, attended.new_tokens))
    return Place(DSA_DECODE, site, (attended.sequences, attended.context_tokens))


def resized(operation: Operation, site: Site, at: tuple[Quantity, ...]) -> Operation:
    """The operation at another place in the tables of its kind."""
    match operation:
        case Gemm(dtype=dtype):
            return Gemm(at[0], site[0], site[1], dtype)
        case PrefillAttention() | DecodeAttention() | SparseAttention():
            return _resized_attention(operation, site, at)
        case DeltaRule():
            return DeltaRule(at[0], *site)
        case MoeExperts(matrices=matrices, dtype=dtype):
            hidden, width, per_token, experts, ranks = site
            local = max(experts // ranks, 1)
            return MoeExperts(at[0], experts, local, per_token, hidden, width, matrices, dtype)
        case AllReduce():
            return AllReduce(at[0] * ACTIVATION_BYTES, site[0])
        case Collective(kind):
            return Collective(kind, at[0] * ACTIVATION_BYTES, site[0])
        case Elementwise() | Send() | ExpertExchange():
            return operation


def _resized_attention(
    operation: PrefillAttention | DecodeAttention | SparseAttention,
    site: Site,
    at: tuple[Quantity, ...],
) -> Operation:
    match operation:
        case PrefillAttention() if len(site) == 1:
            widths = (operation.head_dim, operation.value_dim)
            return PrefillAttention(at[1], at[0], site[0], site[0], *widths, operation.kv_dtype)
        case PrefillAttention(kv_dtype=kv_dtype):
            heads, kv_heads, width, window = site
            return PrefillAttention(
                at[1], at[0], heads, kv_heads, width, width, kv_dtype, window or None
            )
        case DecodeAttention(kv_dtype=kv_dtype):
            tokens = at[0] * at[1]  # FLOPs and bytes go by tokens read, whosever they are
            if len(site) == 1:
                widths = (operation.head_dim, operation.value_dim)
                return DecodeAttention(1, tokens, site[0], 1, *widths, kv_dtype, True)
            heads, kv_heads, width, _ = site
            return DecodeAttention(1, tokens, heads, kv_heads, width, width, kv_dtype)
        case SparseAttention():
            return _resized_sparse(operation, site, at)


def _resized_sparse(
    operation: SparseAttention, site: Site, at: tuple[Quantity, ...]
) -> SparseAttention:
    attended = _resized_part(operation.attended, at, site[0])
    indexer = operation.indexer
    if indexer is not None:
        indexer = _resized_part(indexer, at, indexer.heads)
    products = tuple(replace(product, m=1.0) for product in operation.products)
    return replace(operation, attended=attended, indexer=indexer, products=products)


def _resized_part(
    part: PrefillAttention | DecodeAttention, at: tuple[Quantity, ...], heads: int
) -> PrefillAttention | DecodeAttention:
    if isinstance(part, PrefillAttention):
        return replace(part, past_tokens=at[0], new_tokens=at[1], heads=heads)
    return replace(part, sequences=at[0], context_tokens=at[1], heads=heads)


def operation_of(key: TableKey) -> Operation:
    """An operation that the table is read for, of size one; `resized` places it.

    KeyError for a table that none is read for, ValueError for a format that is not known.
    """
    kv_dtype = Dtype(key.traits.get("kv", Dtype.BF16))
    match KINDS[key.operation]:
        case kind if kind is GEMM:
            return Gemm(1.0, 1, 1, Dtype(key.dtype))
        case kind if kind is MOE:
            return MoeExperts(1.0, 1, 1, 1, 1, 1, 3, Dtype(key.dtype))
        case kind if kind is DELTA:
            return DeltaRule(1.0, 1, 1, 1, 1)
        case kind if kind is ALL_REDUCE:
            return AllReduce(ACTIVATION_BYTES, 1)
        case kind if kind is ALL_GATHER:
            return Collective("all_gather", ACTIVATION_BYTES, 1)
        case kind if kind is REDUCE_SCATTER:
            return Collective("reduce_scatter", ACTIVATION_BYTES, 1)
        case kind if kind in (DSA_PREFILL, DSA_DECODE):
            return SparseAttention(_part_of(kind, kv_dtype), None, kv_dtype, ())
        case kind:
            return _part_of(kind, kv_dtype)


def _part_of(kind: TableKind, kv_dtype: Dtype) -> PrefillAttention | DecodeAttention:
    """Attention of size one, as the tables of its kind have it."""
    match kind:
        case kind if kind in (PREFILL, MLA_PREFILL, DSA_PREFILL):
            widths = (1, 1) if kind is PREFILL else _MLA_PREFILL
            return PrefillAttention(1.0, 0.0, 1, 1, *widths, kv_dtype)
        case kind:
            widths = (1, 1) if kind is DECODE else _MLA_DECODE
            return DecodeAttention(1, 1.0, 1, 1, *widths, kv_dtype, kind is not DECODE)


Rows = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def rows(table: CostTable, kind: TableKind) -> Rows:
    """Sites, growing sizes and seconds of a table's rows, as the operations of its kind ask.

    An expert's width becomes that of one rank; of prefills of several sequences each counts as its
    share of them; contexts end where they outgrow a decode's window. Where two rows then say the
    same, the smaller batch, tensor parallelism or context holds.
    """
    points, seconds = table.points, table.seconds
    columns = dict(zip(table.dimensions, points.T, strict=True))
    spare = "tensor_parallel" if kind is MOE else "batch"
    if kind is MOE:
        columns["width"] = columns["width"] // columns["tensor_parallel"]
    if kind is DECODE:
        spare, columns["cached"] = "cached", columns["context_tokens"]
        reach = np.where(columns["window"] > 0, columns["window"] + BEYOND, _ENDLESS)
        columns["context_tokens"] = np.minimum(columns["cached"], reach)
    sites = np.stack([columns[name] for name in kind.site], axis=1)
    at = np.stack([columns[name] for name in kind.growing], axis=1)
    if spare in columns and spare not in kind.growing:
        ids = row_ids(np.hstack([sites, at]))
        smallest = np.full(ids.max(initial=0) + 1, _ENDLESS)
        np.minimum.at(smallest, ids, columns[spare])
        kept = columns[spare] == smallest[ids]
        shares = columns[spare] if spare == "batch" else np.ones_like(columns[spare])
        sites, at, seconds = sites[kept], at[kept], (seconds / shares)[kept]
    return sites, at.astype(np.float64), seconds
