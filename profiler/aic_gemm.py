"""Matrix products of the database: (m, k) × (k, n), m the tokens of the step."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.profiler.aic_formats import number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_MEASURED_WITHOUT_GRAPHS = {("vllm", "fp8_block")}
"""vLLM's block-scaled products alone were timed outside CUDA graphs: 55 µs at the least on an H200,
425 µs on a GB200, where the other engines' take 3 to 5 µs. Small ones hold the launch."""


def _kind(source: str, names: Names) -> Kind:
    dtype, traits = number_format(names["gemm_dtype"])
    return Kind("gemm", dtype, traits, (source, names["gemm_dtype"]) in _MEASURED_WITHOUT_GRAPHS)


def _points(rows: TableRows) -> Sequence[Ints]:
    return rows.ints("m"), rows.ints("n"), rows.ints("k")


LAYOUTS = (Layout("gemm_perf", "gemm", ("gemm_dtype",), _kind, _points),)
