"""Costs that a user measured: a CSV of one row a point, read with every bad line named.

The columns are `operation`, `device`, `dtype`, the dimensions of the operations in the file by
name, and one of `seconds`, `milliseconds`, `microseconds`, `nanoseconds`. A row leaves the
dimensions of other operations empty. `source`, `version`, `variant` (`name=value`, joined by
commas), `is_eager` and `spread` may be there too.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from servecast.errors import InputError, unknown
from servecast.primitives.catalogue import accelerator
from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey
from servecast.primitives.dtype import Dtype
from servecast.profiler.cost_rows import CostRows
from servecast.traces.faults import Faults, shown

MOST_FAULTS = 20
_UNITS_S = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_NEEDED = ("operation", "device", "dtype")
_OPTIONAL = ("source", "version", "variant", "is_eager", "spread")
_DIMENSIONS = tuple(dict.fromkeys(name for names in DIMENSIONS.values() for name in names))
_ZERO_WHERE_EMPTY = frozenset({"window", "past_tokens"})
_TRUTH = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
_MEND = "mend or remove the line"
_EXAMPLE = "for example: operation,device,dtype,m,n,k,microseconds"


@dataclass(frozen=True, slots=True)
class _Header:
    """The columns of the file, and which of them is the time."""

    columns: tuple[str, ...]
    time: str


@dataclass(frozen=True, slots=True)
class _Point:
    """One row, understood."""

    key: TableKey
    sizes: tuple[int, ...]
    seconds: float
    spread: float


def read_plain_costs(path: str | Path) -> list[CostTable]:
    """The tables in the file, one for each operation, device, dtype, source and variant.

    InputError names the first bad lines, each with its value and the rule that it breaks.
    """
    file = Path(path).expanduser()
    faults = Faults(file, MOST_FAULTS)
    points: dict[TableKey, list[_Point]] = defaultdict(list)
    lines = _lines(file)
    header = _header(lines, file)
    for line, cells in lines:
        try:
            point = _point(header, cells)
        except InputError as error:
            faults.add(line, error.message.replace("\n  ", "; "), error.hint or _MEND)
            if faults.full:
                break
        else:
            points[point.key].append(point)
    faults.settle()
    rows = CostRows(file.name)
    for key, own in points.items():
        sizes = np.array([point.sizes for point in own], np.int64)
        seconds = np.array([point.seconds for point in own])
        rows.add(key, list(sizes.T), seconds, np.array([point.spread for point in own]))
    return rows.tables()


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of their line."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""))
        yield from ((reader.line_num, row) for row in reader if any(map(str.strip, row)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"`{path}` cannot be read: {reason}", hint="costs are a CSV text, or a gzip file of one"
        ) from error


def _header(lines: Iterator[tuple[int, list[str]]], path: Path) -> _Header:
    for _, cells in lines:
        columns = tuple(cell.strip() for cell in cells)
        break
    else:
        raise InputError(f"`{path}` is empty: it has no header and no rows", hint=_EXAMPLE)
    known = (*_NEEDED, *_OPTIONAL, *_DIMENSIONS, *_UNITS_S)
    for name in columns:
        if name not in known:
            error = unknown("column", name, known, command=_EXAMPLE)
            raise InputError(f"header of `{path}`: {error.message}", hint=error.hint)
    times = [name for name in columns if name in _UNITS_S]
    missing = [name for name in _NEEDED if name not in columns]
    if missing or len(times) != 1 or len(set(columns)) != len(columns):
        raise InputError(
            f"header of `{path}` is {shown(','.join(columns))}, and must have once each "
            f"{', '.join(_NEEDED)} and one of {', '.join(_UNITS_S)}",
            hint=_EXAMPLE,
        )
    return _Header(columns, times[0])


def _point(header: _Header, cells: Sequence[str]) -> _Point:
    if len(cells) != len(header.columns):
        raise InputError(f"the row has {len(cells)} cells, and the header {len(header.columns)}")
    row = dict(zip(header.columns, map(str.strip, cells), strict=True))
    operation = row["operation"]
    if operation not in DIMENSIONS:
        raise unknown("operation", operation, DIMENSIONS, command=_MEND)
    dtype = row["dtype"]
    if dtype not in list(Dtype):
        raise unknown("dtype", dtype, list(Dtype), command=_MEND)
    key = TableKey(
        operation,
        accelerator(row["device"]).name,
        dtype,
        row.get("source") or "user",
        row.get("version", ""),
        row.get("variant", ""),
        _truth(row.get("is_eager", "")),
    )
    seconds = _number(header.time, row[header.time]) * _UNITS_S[header.time]
    spread = _number("spread", row["spread"], zero=True) if row.get("spread") else math.nan
    return _Point(key, tuple(_sizes(operation, row)), seconds, spread)


def _sizes(operation: str, row: dict[str, str]) -> Iterator[int]:
    own = DIMENSIONS[operation]
    for name in _DIMENSIONS:
        if name not in own and row.get(name):
            raise InputError(
                f"{name} is {shown(row[name])}, and must be empty: {operation} has {', '.join(own)}"
            )
    for name in own:
        text = row.get(name, "")
        if not text and name in _ZERO_WHERE_EMPTY:
            yield 0
        elif not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise InputError(f"{name} is {shown(text)}, and must be a whole number, 0 or more")
        else:
            yield int(text)


def _number(name: str, text: str, *, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf or (zero and value == 0)):
        rule = "a number, 0 or more" if zero else "a positive number"
        raise InputError(f"{name} is {shown(text)}, and must be {rule}")
    return value


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise InputError(f"is_eager is {shown(text)}, and must be true or false")
    return _TRUTH[text.lower()]
