"""Tables: the rows of a CSV or JSONL text as columns of cells, before any cell is understood."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TextIO, cast

from servecast.errors import InputError
from servecast.traces.faults import Faults, shown

Container = Literal["csv", "jsonl"]
Rows = Iterator[tuple[int, Sequence[str]]]
"""Line numbers and the wanted cells of each row that is not broken."""
_CHUNK_ROWS = 65_536
_EXAMPLE = "begin the file with a header such as `arrival_s,input_tokens,output_tokens`"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a table: their line numbers, and one tuple of cells for each column asked."""

    lines: Sequence[int]
    columns: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Table:
    """A text whose column names are known and whose rows are still to be read, once."""

    container: Container
    columns: tuple[str, ...]
    _rows: Callable[[Sequence[str], Collection[str], Faults], Rows]

    def chunks(
        self,
        wanted: Sequence[str],
        limit: int | None,
        faults: Faults,
        *,
        sparse: Collection[str] = (),
    ) -> Iterator[Chunk]:
        """The wanted columns of the first `limit` rows; broken lines go to `faults` instead.

        A row of a JSONL file may lack the columns `sparse`, whose cells are then empty.
        """
        rows = islice(self._rows(wanted, sparse, faults), limit)
        while batch := list(islice(rows, _CHUNK_ROWS)):
            lines, cells = zip(*batch, strict=True)
            yield Chunk(lines, list(zip(*cells, strict=True)))
            if faults.full:
                return


def open_table(text: TextIO, path: Path) -> Table:
    """The table in the text: JSONL if its first line is an object, else CSV with a header."""
    skipped = 0
    for first in text:
        if first.strip():
            break
        skipped += 1
    else:
        raise InputError(f"`{path}` is empty: it has no header and no rows", hint=_EXAMPLE)
    if "\0" in first:
        raise InputError(f"`{path}` is not text", hint="write it as CSV or JSONL first")
    if first.lstrip().startswith("["):
        raise InputError(
            f"`{path}` line {skipped + 1}: a JSON array begins, and JSONL has one object a line",
            hint="write each element on a line of its own",
        )
    lines = chain([first], text)
    if first.lstrip().startswith("{"):
        return _jsonl_table(lines, skipped, first, path)
    return _csv_table(lines, skipped, path)


def _csv_table(lines: Iterator[str], skipped: int, path: Path) -> Table:
    reader = csv.reader(lines)
    columns = tuple(name.strip() for name in next(reader))
    if all(name.lstrip("+-.")[:1].isdecimal() for name in columns):
        raise InputError(
            f"`{path}` line {skipped + 1}: {shown(','.join(columns))} is a row, "
            "and must be a header of column names",
            hint=_EXAMPLE,
        )

    def rows(wanted: Sequence[str], _sparse: Collection[str], faults: Faults) -> Rows:
        places = [columns.index(name) for name in wanted]
        try:
            for row in reader:
                line = skipped + reader.line_num
                if len(row) == len(columns):
                    yield line, [row[place] for place in places]
                elif row:
                    rule = f"the header has {len(columns)}"
                    faults.add(line, f"{shown(','.join(row))} has {len(row)} columns, and {rule}")
        except csv.Error as error:
            faults.add(skipped + reader.line_num, f"the line is no CSV: {error}")

    return Table("csv", columns, rows)


def _jsonl_table(lines: Iterator[str], skipped: int, first: str, path: Path) -> Table:
    head = _json_object(first)
    if head is None:
        raise InputError(
            f"`{path}` line {skipped + 1}: {shown(first.strip())} is not a JSON object",
            hint="write one object a line",
        )

    def rows(wanted: Sequence[str], sparse: Collection[str], faults: Faults) -> Rows:
        needed = [name for name in wanted if name not in sparse]
        for line, text in enumerate(lines, start=skipped + 1):
            if not text.strip():
                continue
            row = _json_object(text)
            absent = [name for name in needed if row is not None and name not in row]
            if row is None:
                faults.add(line, f"{shown(text.strip())} is not a JSON object")
            elif absent:
                faults.add(line, f"the key `{absent[0]}`, which the first row has, is missing")
            else:
                yield line, [_cell(row.get(name, "")) for name in wanted]

    return Table("jsonl", tuple(head), rows)


def _json_object(text: str) -> dict[str, object] | None:
    """The object on the line, numbers left as written so that no digit is lost; or None."""
    try:
        value: object = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
