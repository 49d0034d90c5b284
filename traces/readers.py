"""Readers: a trace file becomes a workload, or one error that names every bad line found."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from servecast.errors import InputError
from servecast.traces.azure import ATTRIBUTION, AZURE, names_azure
from servecast.traces.burstgpt import BURSTGPT
from servecast.traces.classes import Classes
from servecast.traces.columns import integers
from servecast.traces.faults import Faults, shown
from servecast.traces.files import open_text
from servecast.traces.formats import Layout, TraceFormat, lay_out, recognise, require_columns
from servecast.traces.lengths import EmpiricalLengths
from servecast.traces.mooncake import BAILIAN, MOONCAKE
from servecast.traces.plain import PLAIN
from servecast.traces.prefixes import Prefixes, block_tokens_of, prefixes
from servecast.traces.quantities import TOKENS
from servecast.traces.request_logs import log_kind, read_log
from servecast.traces.reshape import sorted_by_arrival
from servecast.traces.sessions import Sessions
from servecast.traces.tables import open_table
from servecast.traces.timed_columns import TimedColumns
from servecast.traces.weka import WEKA, read_weka
from servecast.traces.workload import Ints, Workload

FORMATS: tuple[TraceFormat, ...] = (AZURE, BURSTGPT, MOONCAKE, BAILIAN, WEKA, PLAIN)
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
    """The workload in a trace file or request log, at most `limit` rows of it, from arrival 0 on.

    Where the file declares no `max_tokens`, every request gets the longest output of the rows
    read: a ceiling common to all tells a scheduler nothing of the one. `sort` mends rows out of
    order. Bad input raises one InputError that lists up to `max_bad` bad lines.
    """
    file = Path(path)
    faults = Faults(file, max_bad)
    _require_limit(limit)
    log = log_kind(file)
    if log is not None:
        return read_log(file, trace_name(file), log, limit)
    with open_text(file) as text:
        table = open_table(text, file)
        known = recognise(table, file, FORMATS)
        if known is WEKA:
            workload = read_weka(table, file, trace_name(file), limit, faults)
            _require_rows(file, len(workload))
            return workload
        found = lay_out(table, known)
        columns = TimedColumns(known, found, faults, sort=sort)
        for chunk in table.chunks(found.used(), limit, faults, sparse=found.sparse()):
            columns.take(chunk)
    faults.settle()
    workload = _workload(file, found, columns, known)
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


def _workload(file: Path, found: Layout, columns: TimedColumns, known: TraceFormat) -> Workload:
    arrival_ns = columns.column(found.arrival)
    _require_rows(file, len(arrival_ns))
    outputs = columns.column(found.output_tokens)
    ceiling = np.full_like(outputs, outputs.max())
    owed = ATTRIBUTION if names_azure(file.name) else known.attribution
    return Workload(
        name=trace_name(file),
        arrival_ns=arrival_ns - arrival_ns.min(),
        prompt_tokens=columns.column(found.input_tokens),
        output_tokens=outputs,
        max_tokens=columns.column(found.max_tokens) if found.max_tokens else ceiling,
        prefixes=_prefixes(file, found, columns, known) if any(columns.chains) else None,
        priorities=columns.column(found.priority) if found.priority else None,
        attribution=columns.credit or owed,
        sessions=_sessions(found, columns),
        failed=columns.failed,
        classes=Classes.of(columns.labels) if found.request_class else None,
    )


def _sessions(found: Layout, columns: TimedColumns) -> Sessions | None:
    if not found.follows:
        return None
    follows = columns.column(found.follows)
    think_ns = columns.column(found.think) if found.think else np.zeros_like(follows)
    return Sessions(follows, think_ns)


def trace_name(path: Path) -> str:
    """The file's name without its folder and the suffixes of its format."""
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".csv").removesuffix(".jsonl").removesuffix(".json")


def _prefixes(file: Path, found: Layout, columns: TimedColumns, known: TraceFormat) -> Prefixes:
    """The chains, in blocks of the size that its format or the file states or lengths imply."""
    if known.block_tokens is not None:
        return prefixes(known.block_tokens, columns.chains)
    prompt_tokens = columns.column(found.input_tokens)
    blocks = np.array([len(chain) for chain in columns.chains])
    if found.prefix_block:
        stated = np.unique(columns.column(found.prefix_block)).tolist()
        if len(stated) > 1:
            raise InputError(
                f"`{file}` states more than one `{found.prefix_block}`: {shown(str(stated))}",
                hint="write the ids of all requests in blocks of one size",
            )
        beyond = blocks * stated[0] >= prompt_tokens + stated[0]
        return prefixes(stated[0], columns.chains, names_outputs=bool(beyond.any()))
    block_tokens = block_tokens_of(prompt_tokens, blocks)
    if block_tokens is None:
        raise InputError(
            f"`{file}`: no one block size gives the lengths of all lists of `{found.prefix_ids}`",
            hint="add a column `block_tokens`, or rename the lists: then they are not read",
        )
    return prefixes(block_tokens, columns.chains)


def _require_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, and must be at least 1 row", hint="leave it out")


def _require_rows(path: Path, rows: int) -> None:
    if not rows:
        raise InputError(
            f"`{path}` has a header and no rows: a workload needs at least one request",
            hint="write a row a request below the header",
        )
