"""Writers: a workload becomes a trace file in the plain format, which `read` reads back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from servecast.errors import InputError
from servecast.traces.files import write_text
from servecast.traces.prefixes import Prefixes
from servecast.traces.quantities import NS_PER_S
from servecast.traces.workload import Workload

_SUFFIXES = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")
_COLUMNS = ["arrival_s", "input_tokens", "output_tokens", "max_tokens"]


def write(workload: Workload, path: str | PathLike[str]) -> None:
    """Write the workload as CSV or JSONL, as the name's suffix says, with `.gz` compressed.

    Arrivals keep every nanosecond. An attribution is a further column, filled in the first row. Who
    follows somebody in a session has the arrival of the row above, which nobody reads.
    The file appears complete or not at all, and the same workload gives the same bytes.
    """
    file = Path(path)
    _require_writable(workload, file)
    is_csv = file.name.removesuffix(".gz").endswith(".csv")
    write_text(file, _csv_lines(workload) if is_csv else _jsonl_lines(workload))


def _csv_lines(workload: Workload) -> Iterator[str]:
    credited = bool(workload.attribution)
    others = _others(workload)
    yield ",".join([*_COLUMNS, *others, *["attribution"] * credited]) + "\n"
    blank = "," if credited else ""
    for place, (arrival_ns, *tokens) in enumerate(_rows(workload)):
        more = "".join(f",{column[place]}" for column in others.values())
        credit = "," + _quoted(workload.attribution) if credited and place == 0 else blank
        yield f"{_seconds(arrival_ns)},{tokens[0]},{tokens[1]},{tokens[2]}{more}{credit}\n"


def _jsonl_lines(workload: Workload) -> Iterator[str]:
    others = _others(workload, quote='"')
    for place, (arrival_ns, *tokens) in enumerate(_rows(workload)):
        more = "".join(f', "{name}": {column[place]}' for name, column in others.items())
        credited = workload.attribution and place == 0
        credit = f', "attribution": {json.dumps(workload.attribution)}' if credited else ""
        yield (
            f'{{"arrival_s": {_seconds(arrival_ns)}, "input_tokens": {tokens[0]}, '
            f'"output_tokens": {tokens[1]}, "max_tokens": {tokens[2]}'
            f"{more}{_chain(workload.prefixes, place)}{credit}}}\n"
        )


def _others(workload: Workload, quote: str = "") -> dict[str, Sequence[object]]:
    """The columns that not every workload has, as they are written, names between quotes."""
    others: dict[str, Sequence[object]] = {}
    if workload.priorities is not None:
        others["priority"] = workload.priorities.tolist()
    if workload.sessions is not None:
        others["follows"] = workload.sessions.follows.tolist()
        others["think_s"] = [_seconds(ns) for ns in workload.sessions.think_ns.tolist()]
    if workload.classes is not None:
        others["class"] = [quote + name + quote for name in workload.classes.labels()]
    return others


def _chain(known: Prefixes | None, row: int) -> str:
    if known is None:
        return ""
    return f', "block_tokens": {known.block_tokens}, "hash_ids": {known.ids(row)}'


def _rows(workload: Workload) -> Iterator[tuple[int, int, int, int]]:
    arrival_ns = workload.arrival_ns
    if workload.sessions is not None:
        arrival_ns = np.maximum.accumulate(arrival_ns)
    return zip(
        arrival_ns.tolist(),
        workload.prompt_tokens.tolist(),
        workload.output_tokens.tolist(),
        workload.max_tokens.tolist(),
        strict=True,
    )


def _seconds(ns: int) -> str:
    """Nanoseconds as decimal seconds, exact, with at least one digit after the point."""
    whole, rest = divmod(ns, NS_PER_S)
    return f"{whole}.{rest:09d}".rstrip("0") + ("" if rest else "0")


def _quoted(text: str) -> str:
    cell = io.StringIO()
    csv.writer(cell, lineterminator="").writerow([text])
    return cell.getvalue()


def _require_writable(workload: Workload, path: Path) -> None:
    if not path.name.endswith(_SUFFIXES):
        raise InputError(
            f"`{path.name}` does not say how to write a trace: its suffix must be one of "
            f"{', '.join(_SUFFIXES)}",
            hint=f"name it {path.name.split('.')[0]}.csv.gz",
        )
    if workload.concurrency is not None:
        raise InputError(
            f"`{workload.name}` is a closed loop of {workload.concurrency}, "
            "and a trace file holds times of arrival",
            hint="write it at a rate, and state the concurrency where it is replayed",
        )
    if workload.prefixes is not None and path.name.removesuffix(".gz").endswith(".csv"):
        raise InputError(
            f"`{workload.name}` says which prompts begin alike, and a CSV has no column for it",
            hint=f"name it {path.name.split('.')[0]}.jsonl.gz",
        )
    if not len(workload):
        raise InputError(
            f"`{workload.name}` has no requests to write", hint="synthesize at least 1"
        )
