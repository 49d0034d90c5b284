"""Attention kernels of the database; heads are those of one rank.

No prefill was measured with tokens cached before it: `step`, the past, is 0 in every file, so what
a chunk with a past costs is for the reader of these tables to derive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servecast.profiler.aic_formats import number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_NAMES = ("attn_dtype", "kv_cache_dtype")


def _kind(operation: str) -> Callable[[str, Names], Kind]:
    def kind(_source: str, names: Names) -> Kind:
        dtype, traits = number_format(names["attn_dtype"])
        kv_dtype, _ = number_format(names["kv_cache_dtype"])
        return Kind(operation, dtype, (*traits, ("kv", kv_dtype)))

    return kind


def _heads(rows: TableRows) -> tuple[Ints, ...]:
    """Heads, KV heads, their width, and the sliding window: older tables have no such column."""
    return (
        rows.ints("num_heads"),
        rows.ints("num_key_value_heads"),
        rows.ints("head_dim"),
        rows.ints("window_size", absent=0),
    )


def _prefill(rows: TableRows) -> Sequence[Ints]:
    return rows.ints("batch_size"), rows.ints("isl"), rows.ints("step"), *_heads(rows)


def _decode(rows: TableRows) -> Sequence[Ints]:
    """The context is the one new token (`isl`) and the `step` tokens cached before it."""
    return rows.ints("batch_size"), rows.ints("isl") + rows.ints("step"), *_heads(rows)


LAYOUTS = (
    Layout("context_attention_perf", "attention", _NAMES, _kind("prefill_attention"), _prefill),
    Layout("generation_attention_perf", "attention", _NAMES, _kind("decode_attention"), _decode),
)
