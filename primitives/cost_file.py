"""Measured costs as one CSV file (`.csv` or `.csv.gz`), a row a measurement, readable in a diff.

| column | |
|---|---|
| `device` … `variant`, `eager` | the table's key; `eager` is 1 outside CUDA graphs, else 0 |
| `point` | each dimension of the operation with its integer: `m=8;n=4096;k=4096` |
| `seconds` | the time of one call |
| `spread` | relative half-width over repeats; empty where none is known |
| `origin` | where the table comes from: package and file, or command and date |

Rows are sorted by key and point, and numbers are the shortest that read back as the same: equal
stores are equal files, byte for byte.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import numpy as np

from servecast.errors import InputError, unknown
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey, cost_table
from servecast.whole_files import packed_text

KEY_COLUMNS = ("device", "operation", "dtype", "source", "version", "variant", "eager")
COLUMNS = (*KEY_COLUMNS, "point", "seconds", "spread", "origin")

_EXPECTED = f"a cost file is a CSV with the columns {', '.join(COLUMNS)}"
_POINTS = {
    operation: re.compile(";".join(rf"{name}=([0-9]{{1,18}})" for name in names))
    for operation, names in DIMENSIONS.items()
}


def read_costs(path: str | PathLike[str]) -> CostStore:
    """The tables of a cost file, gzip where its name ends in `.gz`.

    Raises InputError that names the line for a row that breaks a rule, and for no cost file.
    """
    file = Path(path)
    parts: dict[tuple[str, ...], _Part] = {}
    with _open(file) as text:
        lines = csv.reader(text)
        _require_header(file, next(lines, list[str]()))
        try:
            for cells in lines:
                if cells:
                    _add(parts, cells)
        except _BadRowError as error:
            raise InputError(f"`{file}`, line {lines.line_num}: {error}", hint=_EXPECTED) from None
    return CostStore(part.table() for part in parts.values())


def write_costs(store: Iterable[CostTable], path: str | PathLike[str]) -> None:
    """Write the tables, gzip where the name ends in `.gz`; the file appears whole or not at all.

    Raises InputError for a file that cannot be written.
    """
    with packed_text(Path(path)) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for table in CostStore(store):
            writer.writerows(_rows(table))


class _BadRowError(Exception):
    """A row that breaks a rule; its message says which cell and which rule."""


@dataclass(slots=True)
class _Part:
    """Rows of one key and origin, as they are read."""

    key: TableKey
    origin: str
    points: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    seconds: list[float] = field(default_factory=list[float])
    spread: list[float] = field(default_factory=list[float])

    def table(self) -> CostTable:
        return cost_table(
            self.key,
            np.array(self.points).astype(np.int64),
            np.array(self.seconds),
            spread=np.array(self.spread),
            origin=self.origin,
        )


def _add(parts: dict[tuple[str, ...], _Part], cells: list[str]) -> None:
    if len(cells) != len(COLUMNS):
        raise _BadRowError(f"{len(cells)} cells, and must have {len(COLUMNS)}")
    *named, point, seconds, spread, origin = cells
    place = (*named, origin)
    part = parts.get(place)
    if part is None:
        part = parts[place] = _Part(_key(named), origin)
    found = _POINTS[part.key.operation].fullmatch(point)
    if found is None:
        example = ";".join(f"{name}=8" for name in DIMENSIONS[part.key.operation])
        raise _BadRowError(f"point is `{point}`, and must be like `{example}`")
    part.points.append(found.groups())
    part.seconds.append(_number("seconds", seconds, above=0.0))
    part.spread.append(_number("spread", spread, above=-1e-300) if spread else float("nan"))


def _key(cells: list[str]) -> TableKey:
    device, operation, dtype, source, version, variant, eager = cells
    if operation not in DIMENSIONS:
        raise _BadRowError(unknown("operation", operation, DIMENSIONS, command="").message)
    if eager not in ("0", "1"):
        raise _BadRowError(f"eager is `{eager}`, and must be 0 or 1")
    for name, cell in zip(KEY_COLUMNS, cells, strict=True):
        if not cell and name not in ("variant", "version"):
            raise _BadRowError(f"{name} is empty")
    return TableKey(operation, device, dtype, source, version, variant, eager == "1")


def _number(column: str, text: str, above: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not above < number < float("inf"):
        rule = "a number above 0" if above == 0 else "a number of at least 0"
        raise _BadRowError(f"{column} is `{text}`, and must be {rule}")
    return number


def _require_header(path: Path, cells: list[str]) -> None:
    if tuple(cells) != COLUMNS:
        shown = ", ".join(cells)[:200]
        raise InputError(f"`{path}` is no cost file: its first line is `{shown}`", hint=_EXPECTED)


def _rows(table: CostTable) -> Iterator[list[str]]:
    key, pattern = table.key, ";".join(f"{name}={{}}" for name in table.dimensions)
    named = [key.device, key.operation, key.dtype, key.source, key.version, key.variant]
    named.append("1" if key.is_eager else "0")
    origin = " ".join(table.origin.split())  # a line break would end the row for some readers
    points, seconds = table.points.tolist(), table.seconds.tolist()
    for point, cost_s, spread in zip(points, seconds, table.spread.tolist(), strict=True):
        known = repr(spread) if spread > 0 else ""
        yield [*named, pattern.format(*point), repr(cost_s), known, origin]


@contextmanager
def _open(path: Path) -> Generator[TextIO]:
    """The file's text; InputError, also while it is read, where it is missing or damaged."""
    try:
        with path.open("rb") as raw:
            packed = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw
            with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
                yield text
    except (UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise InputError(f"`{path}` is damaged or no text: {error}", hint=_EXPECTED) from error
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"`{path}` cannot be read: {reason}", hint=_EXPECTED) from error
