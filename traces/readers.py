"""Readers: a trace file becomes a workload, or one error that names every bad line found."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from servecast.errors import InputError
from servecast.traces.azure import ATTRIBUTION, AZURE, names_azure
from servecast.traces.columns import check_limits, check_order, integers
from servecast.traces.faults import Faults
from servecast.traces.files import open_text
from servecast.traces.formats import Layout, TraceFormat, lay_out, recognise, require_columns
from servecast.traces.lengths import EmpiricalLengths
from servecast.traces.plain import PLAIN
from servecast.traces.quantities import TOKENS
from servecast.traces.reshape import sorted_by_arrival
from servecast.traces.tables import Table, open_table
from servecast.traces.workload import Ints, Workload

FORMATS: tuple[TraceFormat, ...] = (AZURE, PLAIN)
_MAX_BAD = 5


def layout(path: str | PathLike[str]) -> Layout:
    """How the file is laid out: its format, the columns `read` takes and those it ignores."""
    file = Path(path)
    with open_text(file) as text:
        table = open_table(text, file)
        return lay_out(table, recognise(table, file, FORMATS))


def read(
    path: str | PathLike[str],
    *,
    limit: int | None = None,
    max_bad: int = _MAX_BAD,
    sort: bool = False,
) -> Workload:
    """The workload in a trace file, at most the first `limit` rows of it, from arrival 0 on.

    Where the file declares no `max_tokens`, every request gets the longest output of the rows
    read: a ceiling common to all tells a scheduler nothing of the one. `sort` mends rows out of
    order. Bad input raises one InputError that lists up to `max_bad` bad lines.
    """
    file = Path(path)
    faults = Faults(file, max_bad)
    _require_limit(limit)
    with open_text(file) as text:
        table = open_table(text, file)
        known = recognise(table, file, FORMATS)
        found = lay_out(table, known)
        columns, credit = _timed_columns(table, known, found, limit, faults, sort)
    faults.settle()
    arrival_ns, inputs, outputs, limits = columns
    _require_rows(file, len(arrival_ns))
    owed = ATTRIBUTION if names_azure(file.name) else known.attribution
    workload = Workload(
        name=trace_name(file),
        arrival_ns=arrival_ns - arrival_ns.min(),
        prompt_tokens=inputs,
        output_tokens=outputs,
        max_tokens=limits if found.max_tokens else np.full_like(outputs, outputs.max()),
        attribution=credit or owed,
    )
    return sorted_by_arrival(workload) if sort else workload


def read_lengths(
    path: str | PathLike[str], *, limit: int | None = None, max_bad: int = _MAX_BAD
) -> EmpiricalLengths:
    """The pairs of input and output length in a file, to draw from; arrivals are not needed."""
    file = Path(path)
    faults = Faults(file, max_bad)
    _require_limit(limit)
    parts: list[tuple[Ints, Ints]] = []
    with open_text(file) as text:
        table = open_table(text, file)
        wanted = require_columns(table, file, (PLAIN.input_tokens, PLAIN.output_tokens))
        for chunk in table.chunks(wanted, limit, faults):
            inputs, outputs = (integers(chunk, place, wanted, TOKENS, faults) for place in (0, 1))
            parts.append((inputs, outputs))
    faults.settle()
    _require_rows(file, len(parts))
    return EmpiricalLengths(
        np.concatenate([inputs for inputs, _ in parts]),
        np.concatenate([outputs for _, outputs in parts]),
    )


def trace_name(path: Path) -> str:
    """The file's name without its folder and the suffixes of its format."""
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".csv").removesuffix(".jsonl")


def _timed_columns(
    table: Table,
    known: TraceFormat,
    found: Layout,
    limit: int | None,
    faults: Faults,
    sort: bool,
) -> tuple[tuple[Ints, Ints, Ints, Ints], str]:
    """Arrivals in nanoseconds, the three token columns (limits may be empty) and the credit."""
    used = found.used()
    quantities = [known.arrival[found.arrival], TOKENS, TOKENS]
    quantities += [TOKENS] if found.max_tokens else []
    parts: list[list[Ints]] = []
    credit, last_ns = "", 0
    for chunk in table.chunks(used, limit, faults, sparse=found.attribution):
        part = [integers(chunk, at, used, kind, faults) for at, kind in enumerate(quantities)]
        if not sort:
            check_order(chunk, found.arrival, part[0], last_ns, faults)
        if found.max_tokens:
            check_limits(chunk, part[2], part[3], faults)
        if found.attribution and not credit:
            credit = next(filter(None, chunk.columns[-1]), "")
        last_ns = int(part[0][-1]) if len(part[0]) else last_ns
        parts.append(part)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    columns += [np.empty(0, np.int64)] * (4 - len(columns))
    return (columns[0], columns[1], columns[2], columns[3]), credit


def _require_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, and must be at least 1 row", hint="leave it out")


def _require_rows(path: Path, rows: int) -> None:
    if not rows:
        raise InputError(
            f"`{path}` has a header and no rows: a workload needs at least one request",
            hint="write a row a request below the header",
        )
