"""Columns: the cells of a chunk as integers, and the rules that hold between rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servecast.traces.faults import Faults, shown
from servecast.traces.quantities import Quantity
from servecast.traces.tables import Chunk
from servecast.traces.workload import Ints


def integers(
    chunk: Chunk, place: int, names: Sequence[str], quantity: Quantity, faults: Faults
) -> Ints:
    """The column's integers, or an empty array and its faults noted."""
    cells = chunk.columns[place]
    try:
        return np.array([quantity.parse(cell) for cell in cells], np.int64)
    except ValueError:
        _note_bad_cells(chunk, cells, names[place], quantity, faults)
        return np.empty(0, np.int64)


def _note_bad_cells(
    chunk: Chunk, cells: Sequence[str], name: str, quantity: Quantity, faults: Faults
) -> None:
    for line, cell in zip(chunk.lines, cells, strict=True):
        try:
            quantity.parse(cell)
        except ValueError:
            faults.add_value(line, name, cell, quantity.rule)
            if faults.full:
                return


def check_order(chunk: Chunk, name: str, arrival_ns: Ints, last_ns: int, faults: Faults) -> None:
    """Note the first row that arrives before the row above it; `last_ns` ended the last chunk.

    The chunk's first column is the arrival, called `name`.
    """
    steps = np.diff(arrival_ns, prepend=last_ns)
    early = np.flatnonzero(steps < 0)
    if len(early):
        row = int(early[0])
        early_s = -int(steps[row]) / 1e9
        faults.add(
            chunk.lines[row],
            f"{name} is {shown(chunk.columns[0][row])}, {early_s:g} s before the row above it, "
            "and rows must be in order of arrival",
            hint="`servecast trace convert --sort {path}` puts them in order",
        )


def check_limits(chunk: Chunk, outputs: Ints, limits: Ints, faults: Faults) -> None:
    """Note the first row whose output is longer than the max_tokens that its client declared."""
    if len(outputs) != len(limits):
        return
    over = np.flatnonzero(outputs > limits)
    if len(over):
        row = int(over[0])
        faults.add(
            chunk.lines[row],
            f"output_tokens is `{outputs[row]}`, and must be at most "
            f"the max_tokens of the request, `{limits[row]}`",
        )
