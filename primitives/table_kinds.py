"""How operations lie in cost tables: which dimensions name the site, and which sizes grow."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import CostTable
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    DecodeAttention,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
)
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.primitives.rows import row_ids
from servecast.primitives.sites import Site

Floats = NDArray[np.float64]

_MLA_PREFILL = (192, 128)
_MLA_DECODE = (576, 512)
"""Widths of keys and of values that the tables of latent attention were measured with."""


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
_SHAPE = frozenset({"head_dim", "window"})

GEMM = TableKind("gemm", ("n", "k"), ("m",))
PREFILL = TableKind("prefill_attention", _HEADS, ("past_tokens", "new_tokens"), _SHAPE)
DECODE = TableKind("decode_attention", _HEADS, ("batch", "context_tokens"), _SHAPE)
MLA_PREFILL = TableKind("mla_prefill", ("heads",), ("past_tokens", "new_tokens"))
MLA_DECODE = TableKind("mla_decode", ("heads",), ("batch", "context_tokens"))
MOE = TableKind("moe", _EXPERTS, ("tokens",))
ALL_REDUCE = TableKind("all_reduce", ("ranks",), ("payload_elements",), frozenset({"ranks"}))


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
        case PrefillAttention() | DecodeAttention():
            return _attention(operation)
        case MoeExperts(tokens, experts, local):
            site = (operation.hidden, operation.width, operation.experts_per_token, experts)
            return Place(MOE, (*site, experts // local), (tokens,))
        case AllReduce(payload, ranks):
            return Place(ALL_REDUCE, (ranks,), (payload / ACTIVATION_BYTES,))
    return None


def _attention(operation: PrefillAttention | DecodeAttention) -> Place | None:
    widths = (operation.head_dim, operation.value_dim)
    site = (operation.heads, operation.kv_heads, operation.head_dim)
    if isinstance(operation, PrefillAttention):
        at = (operation.past_tokens, operation.new_tokens)
        if widths[0] == widths[1]:
            return Place(PREFILL, (*site, operation.window or 0), at)
        is_latent = widths == _MLA_PREFILL and operation.window is None
        return Place(MLA_PREFILL, (operation.heads,), at) if is_latent else None
    at = (operation.sequences, operation.context_tokens)
    if operation.shared_latent:
        return Place(MLA_DECODE, (operation.heads,), at) if widths == _MLA_DECODE else None
    return Place(DECODE, (*site, 0), at) if widths[0] == widths[1] else None


def resized(operation: Operation, site: Site, at: tuple[Quantity, ...]) -> Operation:
    """The same kind of operation at another place."""
    match operation:
        case Gemm():
            return replace(operation, m=at[0], n=site[0], k=site[1])
        case PrefillAttention():
            return replace(
                operation, past_tokens=at[0], new_tokens=at[1], **_heads(operation, site)
            )
        case DecodeAttention():  # work goes by tokens read: one sequence has as many as several
            operation = replace(operation, sequences=1, context_tokens=at[0] * at[1])
            kv_heads = operation.kv_heads if len(site) == 1 else site[1]
            return replace(operation, heads=site[0], kv_heads=kv_heads)
        case MoeExperts():
            local = max(site[3] // site[4], 1)
            operation = replace(operation, hidden=site[0], width=site[1], tokens=at[0])
            return replace(
                operation, experts_per_token=site[2], experts=site[3], local_experts=local
            )
        case AllReduce():
            return AllReduce(at[0] * ACTIVATION_BYTES, site[0])
    return operation


PEAKS = RooflineSource(
    RooflineCoefficients(
        **{each.name: float(not each.name.endswith("_s")) for each in fields(RooflineCoefficients)}
    )
)
"""Every share of a peak 1 and every overhead 0: the device's data sheet, and no kernel's habit."""


def ideal_s(operation: Operation, device: Accelerator) -> Floats:
    """Seconds at the device's peaks, max(FLOPs / peak, bytes / bandwidth)."""
    return np.asarray(PEAKS.cost(operation, device).seconds, dtype=np.float64)


def rows(table: CostTable, kind: TableKind) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Sites, growing sizes and seconds of a table's rows, as the operations of its kind ask.

    An expert's width becomes that of one rank; of prefills of several sequences each counts as its
    share of them. Where two rows then say the same, the smaller batch or tensor parallelism holds.
    """
    columns = dict(zip(table.dimensions, table.points.T, strict=True))
    spare = "tensor_parallel" if kind is MOE else "batch"
    seconds = table.seconds
    if kind is MOE:
        columns["width"] = columns["width"] // columns["tensor_parallel"]
    sites = np.stack([columns[name] for name in kind.site], axis=1)
    at = np.stack([columns[name] for name in kind.growing], axis=1)
    if spare in columns and spare not in kind.growing:
        ids = row_ids(np.hstack([sites, at]))
        smallest = np.full(ids.max(initial=0) + 1, np.iinfo(np.int64).max)
        np.minimum.at(smallest, ids, columns[spare])
        kept = columns[spare] == smallest[ids]
        shares = columns[spare] if spare == "batch" else np.ones_like(columns[spare])
        sites, at, seconds = sites[kept], at[kept], (seconds / shares)[kept]
    return sites, at.astype(np.float64), seconds
