"""How far readings of measured tables are off: points, ends of curves and whole shapes left out.

`python -m benchmarks.table_errors h200_sxm b200_sxm` takes the kernel database of the extra `aic`;
a cost file of one device can be named instead. A table's error is what 90 % of the points left out
of it stay within; of an operation's tables the median and the largest are printed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.table import Row, show
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.sites import Sites
from servecast.primitives.table_kinds import KINDS, operation_of
from servecast.profiler.aiconfigurator import import_system


def errors(store: CostStore, device: Accelerator) -> list[Row]:
    """A row for each operation: its tables' errors in percent."""
    found: dict[str, list[Sites]] = defaultdict(list)
    for operation, sites in _read(store, device):
        found[operation].append(sites)
    return [_row(f"{device.name} {operation}", own) for operation, own in found.items()]


def _read(store: CostStore, device: Accelerator) -> Iterator[tuple[str, Sites]]:
    """The tables that step costs are read from, each by its operation."""
    tables = MeasuredTables(store)
    for operation in KINDS:
        for table in tables.find(operation, device):
            if not table.key.is_eager:
                yield operation, tables.read(table, operation_of(table.key), device).sites


def _row(name: str, tables: list[Sites]) -> Row:
    row: dict[str, str | int | float] = {"operation": name, "tables": len(tables)}
    for kind, values in (
        ("point", [each.point_error for each in tables]),
        ("end", [each.end_error for each in tables]),
        ("shape", [each.site_error for each in tables]),
    ):
        known = [value * 100 for value in values if np.isfinite(value)]
        row |= {f"{kind} %": float(np.median(known)) if known else float("nan")}
        row |= {f"{kind} at most": max(known, default=float("nan"))}
    return row


def main() -> None:
    """Print the errors of every device or cost file that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="+", help="a GPU of the catalogue, or a cost file")
    rows: list[Row] = []
    for source in parser.parse_args().source:
        if Path(source).exists():
            store = read_costs(source)
            for name in store.devices():
                rows += errors(store, accelerator(name))
        else:
            device = accelerator(source)
            rows += errors(CostStore(import_system(device.name)), device)
    show("P90 of what is left out in turn", rows)


if __name__ == "__main__":
    main()
