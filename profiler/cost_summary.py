"""What a set of cost tables amounts to: a line a table, with how well its points agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import CostTable, TableKey
from servecast.primitives.sites import ninetieth
from servecast.primitives.table_preferences import OWN
from servecast.profiler.probe_lines import left_out_errors


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table: what it is of, how many rows it has, and the error of points left out."""

    key: TableKey
    rows: int
    left_out: int
    """Points that were predicted from their neighbours; 0 where the profiler did not measure."""
    median_error: float
    """Of these, relative; NaN where there are none."""
    p90_error: float


def summaries(
    tables: Iterable[CostTable], devices: Mapping[str, Accelerator]
) -> list[TableSummary]:
    """A summary of each table, in their order."""
    return [_summary(table, devices.get(table.key.device)) for table in tables]


def _summary(table: CostTable, device: Accelerator | None) -> TableSummary:
    errors = np.zeros(0)
    if device is not None and table.key.source == OWN:
        errors = np.abs(left_out_errors(table, device))
    median = float(np.median(errors)) if len(errors) else float("nan")
    return TableSummary(table.key, len(table), len(errors), median, ninetieth(errors))
