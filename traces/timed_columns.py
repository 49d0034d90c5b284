"""Timed columns: what a trace's rows say, gathered chunk by chunk."""

from __future__ import annotations

import json
import sys
from array import array
from typing import cast

import numpy as np

from servecast.traces.columns import check_limits, check_order, integers
from servecast.traces.faults import Faults
from servecast.traces.formats import Layout, TraceFormat
from servecast.traces.quantities import PAUSE, PRIORITY, ROW, TOKENS
from servecast.traces.tables import Chunk
from servecast.traces.workload import Ints

_CHAIN_RULE = "a list of block ids, whole numbers of at least 0"


class TimedColumns:
    """Arrivals in nanoseconds, tokens, chains of block ids and the credit of one trace file."""

    def __init__(self, known: TraceFormat, found: Layout, faults: Faults, *, sort: bool) -> None:
        """Rows out of order are faults unless they are to be sorted."""
        self.chains: list[list[int]] = []
        self.labels: list[str] = []
        """The class that each request names, where the file has a column for it."""
        self.credit = ""
        self.failed = 0
        """Rows left out because nobody served them."""
        self._drops_failed = known.fails_by_no_output
        self._found, self._faults, self._sort = found, faults, sort
        self._names = found.used()
        optional = [name for name in (found.max_tokens, found.prefix_block) if name]
        self._kinds = [known.arrival[found.arrival], *[TOKENS] * (2 + len(optional))]
        others = ((found.priority, PRIORITY), (found.follows, ROW), (found.think, PAUSE))
        self._kinds += [kind for name, kind in others if name]
        self._values = [array("q") for _ in self._kinds]
        self._last_ns = 0

    def take(self, chunk: Chunk) -> None:
        """Add a chunk's rows; what is wrong with them goes to the faults."""
        found, faults = self._found, self._faults
        if self._drops_failed:
            chunk = self._served(chunk)
        part = [
            integers(chunk, place, self._names, kind, faults)
            for place, kind in enumerate(self._kinds)
        ]
        if not self._sort:
            check_order(chunk, found.arrival, part[0], self._last_ns, faults)
        if found.max_tokens:
            check_limits(chunk, part[2], part[3], faults)
        if found.prefix_ids:
            self._take_chains(chunk, found.prefix_ids)
        if found.request_class:
            labels = chunk.columns[self._names.index(found.request_class)]
            self.labels += [sys.intern(label.strip()) for label in labels]
        if found.attribution and not self.credit:
            self.credit = next(filter(None, chunk.columns[-1]), "")
        self._last_ns = int(part[0][-1]) if len(part[0]) else self._last_ns
        for values, new in zip(self._values, part, strict=True):
            values.frombytes(new.tobytes())

    def column(self, name: str) -> Ints:
        """The whole of a column of numbers, in the memory that it was read into."""
        return np.frombuffer(self._values[self._names.index(name)], np.int64)

    def _served(self, chunk: Chunk) -> Chunk:
        """The rows with an output."""
        outputs = chunk.columns[2]
        kept = [row for row, cell in enumerate(outputs) if cell.strip() not in ("0", "0.0")]
        self.failed += len(outputs) - len(kept)
        columns = [[column[row] for row in kept] for column in chunk.columns]
        return Chunk([chunk.lines[row] for row in kept], columns)

    def _take_chains(self, chunk: Chunk, name: str) -> None:
        cells = chunk.columns[self._names.index(name)]
        for line, cell in zip(chunk.lines, cells, strict=True):
            try:
                self.chains.append(_chain(cell))
            except ValueError:
                self._faults.add_value(line, name, cell, _CHAIN_RULE)


def _chain(cell: str) -> list[int]:
    """The ids in the text of a JSON list, quoted or not, none in no text; else ValueError."""
    if not cell:
        return []
    listed: object = json.loads(cell)
    if not isinstance(listed, list):
        raise ValueError(cell)
    ids = [int(str(each)) for each in cast("list[object]", listed)]
    if ids and min(ids) < 0:
        raise ValueError(cell)
    return ids
