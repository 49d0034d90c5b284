"""Routed experts of the database, on one rank of `tensor_parallel` x `expert_parallel`.

Tokens are those of all ranks, the width is that of a whole expert: a rank computes its share of
either. How tokens fall on the experts is a trait: `balanced` flatters real routing.
"""

from __future__ import annotations

from collections.abc import Sequence

from servecast.profiler.aic_formats import number_format
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints

_COLUMNS = (
    "num_tokens",
    "hidden_size",
    "inter_size",
    "topk",
    "num_experts",
    "moe_tp_size",
    "moe_ep_size",
)


def _kind(_source: str, names: Names) -> Kind:
    dtype, traits = number_format(names["moe_dtype"])
    return Kind("moe", dtype, (*traits, ("distribution", names["distribution"])))


def _points(rows: TableRows) -> Sequence[Ints]:
    return tuple(rows.ints(name) for name in _COLUMNS)


LAYOUTS = (Layout("moe_perf", "moe", ("moe_dtype", "distribution"), _kind, _points),)
