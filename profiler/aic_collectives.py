"""Collectives of the database, inside one node.

`message_size` counts elements, not bytes: at equal sizes the largest int8 messages take half as
long as 16-bit ones. It is the whole tensor: what all-gather ends with, reduce-scatter begins with,
and each rank sends in an all-to-all.
"""

from __future__ import annotations

from collections.abc import Sequence

from servecast.profiler.aic_formats import number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_OPERATIONS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
_LIBRARIES = frozenset({"nccl", "oneccl"})


def _custom_kind(_source: str, names: Names) -> Kind:
    """An engine's own all-reduce; the same sizes were timed inside and outside CUDA graphs."""
    dtype, traits = number_format(names["allreduce_dtype"])
    return Kind("all_reduce", dtype, traits, names["kernel_source"].endswith("_eager"))


def _library_kind(_source: str, names: Names) -> Kind | None:
    operation = _OPERATIONS.get(names["op_name"])
    dtype, traits = number_format(names["nccl_dtype"])
    return None if operation is None else Kind(operation, dtype, traits)


def _points(rows: TableRows) -> Sequence[Ints]:
    return rows.ints("message_size"), rows.ints("num_gpus")


_LIBRARY_NAMES = ("nccl_dtype", "op_name")

LAYOUTS = (
    Layout("custom_allreduce_perf", "comm", ("allreduce_dtype",), _custom_kind, _points),
    Layout("nccl_perf", "comm", _LIBRARY_NAMES, _library_kind, _points, sources=_LIBRARIES),
    Layout("oneccl_perf", "comm", _LIBRARY_NAMES, _library_kind, _points, sources=_LIBRARIES),
)
