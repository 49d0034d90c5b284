"""A benchmark's rows: printed as a table, written as JSON or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str | int | float]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows of equal columns, names on top, numbers to the right."""
    columns = list(rows[0])
    cells = [[_shown(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    print(f"\n{title}")
    for line in (columns, *cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def write(path: Path, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write tables by name: as JSON, or as one CSV whose first column is the table's name."""
    if path.suffix == ".json":
        path.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")
        return
    rows = [{"table": name, **row} for name, table in tables.items() for row in table]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _shown(cell: str | int | float) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or cell >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:.3g}"
