"""Gated delta nets of the database: the chunked rule over a prompt, of one layer on one rank.

Left out are the convolution before it and the update of one token: both move what they read at the
device's bandwidth, and are priced so.
"""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.dtype import Dtype
from servecast.profiler.aic_layout import Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Ints


def _kind(_source: str, names: Names) -> Kind | None:
    is_rule = names["kernel_source"].startswith("chunk_gated_delta_rule")
    return Kind("delta_rule", Dtype.BF16) if is_rule else None


def _points(rows: TableRows) -> Sequence[Ints]:
    columns = ("batch_size", "seq_len", "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim")
    return tuple(rows.ints(name) for name in columns)


LAYOUTS = (Layout("gdn_perf", "linear_attention", ("phase",), _kind, _points),)
