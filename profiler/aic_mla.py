"""Multi-head latent attention (MLA) of the database: kernels, its two batched products, modules.

A module is the whole block of one layer, projections included, of one model; vLLM has modules
only. Heads are those of one rank, which `tp_size` merely repeats: rows that differ in nothing else
are repeats of one measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servecast.profiler.aic_formats import Traits, number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_KERNEL = ("mla_dtype", "kv_cache_dtype")
_MODULE = (*_KERNEL, "gemm_type", "model")
_PARTS = {"mla_gen_pre": "pre", "mla_gen_post": "post"}


def _kind(operation: str) -> Callable[[str, Names], Kind]:
    def kind(_source: str, names: Names) -> Kind:
        dtype, traits = number_format(names["mla_dtype"])
        kv_dtype, _ = number_format(names["kv_cache_dtype"])
        return Kind(operation, dtype, (*traits, ("kv", kv_dtype), *_module_traits(names)))

    return kind


def _module_traits(names: Names) -> Traits:
    """Format of the projections and the model, of a module."""
    if "gemm_type" not in names:
        return ()
    dtype, traits = number_format(names["gemm_type"])
    return ("gemm", dtype), *traits, ("model", names["model"])


def _prefill(rows: TableRows) -> Sequence[Ints]:
    return tuple(rows.ints(name) for name in ("batch_size", "isl", "step", "num_heads"))


def _decode(rows: TableRows) -> Sequence[Ints]:
    """The context is the one new token (`isl`) and the `step` tokens cached before it."""
    return rows.ints("batch_size"), rows.ints("isl") + rows.ints("step"), rows.ints("num_heads")


def _product_kind(_source: str, names: Names) -> Kind:
    """The product before attention is another than the one after it: same sizes, other shapes."""
    dtype, traits = number_format(names["bmm_dtype"])
    return Kind("mla_bmm", dtype, (*traits, ("part", _PARTS[names["op_name"]])))


def _product(rows: TableRows) -> Sequence[Ints]:
    return rows.ints("num_tokens"), rows.ints("num_heads")


LAYOUTS = (
    Layout("context_mla_perf", "mla", _KERNEL, _kind("mla_prefill"), _prefill),
    Layout("generation_mla_perf", "mla", _KERNEL, _kind("mla_decode"), _decode),
    Layout("mla_context_module_perf", "mla", _MODULE, _kind("mla_prefill_module"), _prefill),
    Layout("mla_generation_module_perf", "mla", _MODULE, _kind("mla_decode_module"), _decode),
    Layout("mla_bmm_perf", "mla_bmm", ("bmm_dtype", "op_name"), _product_kind, _product),
)
