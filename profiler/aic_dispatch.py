"""Sending tokens to their experts' ranks and back (DeepEP) in the database; tokens are one rank's.

All times are microseconds here, also `latency` of `moe_a2a_perf`, which is milliseconds in every
other table: it equals the sum of its columns in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from servecast.primitives.dtype import Dtype
from servecast.profiler.aic_layout import MICROSECOND, Kind, Layout, Names, TableRows
from servecast.profiler.parquet import Floats, Ints

_FORMATS = {"bfloat16": Dtype.BF16, "fp8": Dtype.FP8, "nvfp4": Dtype.NVFP4}
"""What is not among them stays as the table calls it: `default` is the library's own choice."""
_OPERATIONS = {"dispatch": "moe_dispatch", "combine": "moe_combine"}


def _microseconds(*columns: str) -> Callable[[TableRows], Floats]:
    def seconds(rows: TableRows) -> Floats:
        total = np.zeros(1)
        for name in columns:
            total = total + rows.floats(name)
        return total * MICROSECOND

    return seconds


def _all_to_all_kind(_source: str, names: Names) -> Kind | None:
    operation = _OPERATIONS.get(names["phase"])
    dtype = _FORMATS.get(names["comm_dtype"], names["comm_dtype"])
    traits = (("mode", names["comm_backend"]), ("sms", names["sms"]))
    return None if operation is None else Kind(operation, dtype, traits)


def _all_to_all(rows: TableRows) -> Sequence[Ints]:
    columns = ("num_tokens", "hidden_size", "topk", "num_experts", "ep_size", "node_num")
    return tuple(rows.ints(name) for name in columns)


def _wide_kind(phase: str, mode: str) -> Callable[[str, Names], Kind]:
    def kind(_source: str, names: Names) -> Kind:
        sms = names.get(f"{phase}_sms", "0")
        return Kind(_OPERATIONS[phase], "default", (("mode", mode), ("sms", sms)))

    return kind


def _wide(rows: TableRows) -> Sequence[Ints]:
    """The tables count nodes; the ranks follow from the system's GPUs per node."""
    columns = ("num_token", "hidden_size", "num_topk", "num_experts")
    nodes = rows.ints("node_num")
    return *(rows.ints(name) for name in columns), nodes * rows.gpus_per_node, nodes


def _wide_layouts(phase: str) -> tuple[Layout, Layout]:
    low = _microseconds(f"{phase}_avg_t_us")
    normal = _microseconds(f"{phase}_transmit_us", f"{phase}_notify_us")
    return (
        Layout("wideep_deepep_ll_perf", "comm", (), _wide_kind(phase, "low_latency"), _wide, low),
        Layout(
            "wideep_deepep_normal_perf",
            "comm",
            (f"{phase}_sms",),
            _wide_kind(phase, "normal"),
            _wide,
            normal,
        ),
    )


LAYOUTS = (
    Layout(
        "moe_a2a_perf",
        "comm",
        ("phase", "comm_dtype", "comm_backend", "sms"),
        _all_to_all_kind,
        _all_to_all,
        _microseconds("latency"),
    ),
    *_wide_layouts("dispatch"),
    *_wide_layouts("combine"),
)
