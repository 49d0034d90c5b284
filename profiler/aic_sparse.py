"""Sparse latent attention (DSA) of the database: whole modules of one layer.

A module holds the layer's projections, the indexer and the attention over what it picks. Layers
that use an earlier layer's picks are left out. Heads are those of one rank. Prefill modules were
timed kernel by kernel, as engines run them outside CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from servecast.profiler.aic_formats import number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_NAMES = ("mla_dtype", "kv_cache_dtype", "gemm_type", "op_name")

_HIDDEN = {"DeepseekV32ForCausalLM": 7168, "GlmMoeDsaForCausalLM": 6144}
"""Width of the models, which tells their modules apart: heads alone do not."""


def _kind(operation: str) -> Callable[[str, Names], Kind | None]:
    def kind(_source: str, names: Names) -> Kind | None:
        if names["op_name"].endswith("_skip_indexer"):
            return None
        dtype, traits = number_format(names["mla_dtype"])
        kv_dtype, _ = number_format(names["kv_cache_dtype"])
        gemm_dtype, gemm_traits = number_format(names["gemm_type"])
        module = (("kv", kv_dtype), ("gemm", gemm_dtype), *gemm_traits)
        return Kind(operation, dtype, (*traits, *module))

    return kind


def _heads(rows: TableRows) -> tuple[Ints, ...]:
    codes, names = rows.file.names("architecture")
    return rows.ints("num_heads"), np.array([_HIDDEN[name] for name in names])[codes]


def _prefill(rows: TableRows) -> Sequence[Ints]:
    return rows.ints("batch_size"), rows.ints("isl"), rows.ints("step"), *_heads(rows)


def _decode(rows: TableRows) -> Sequence[Ints]:
    """The context is the one new token (`isl`) and the `step` tokens cached before it."""
    return rows.ints("batch_size"), rows.ints("isl") + rows.ints("step"), *_heads(rows)


_FAMILY = "sparse_attention"

LAYOUTS = (
    Layout("dsa_context_module_perf", _FAMILY, _NAMES, _kind("dsa_prefill_module"), _prefill),
    Layout("dsa_generation_module_perf", _FAMILY, _NAMES, _kind("dsa_decode_module"), _decode),
)
