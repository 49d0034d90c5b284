"""Layouts: how the columns of one of the database's tables become rows of our operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from servecast.errors import InputError
from servecast.profiler.aic_package import TableFile
from servecast.profiler.parquet import Floats, Ints, ParquetFile

MILLISECOND = 1e-3
MICROSECOND = 1e-6

Names = Mapping[str, str]
"""What tells the rows of a table apart besides numbers: column to value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a group of rows is a measurement of; all that a table's key says but kernel and source.

    Its traits are in the order in which a key's variant lists them.
    """

    operation: str
    dtype: str
    traits: tuple[tuple[str, str], ...] = ()
    is_eager: bool = False


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one table while they are read: its columns, and what its system's file adds."""

    file: ParquetFile
    gpus_per_node: int

    def ints(self, column: str, absent: int | None = None) -> Ints:
        """The column's integers; `absent` throughout where it is given and the column is not."""
        if absent is not None and column not in self.file.columns:
            return np.array(absent, np.int64)
        return self.file.ints(column)

    def floats(self, column: str) -> Floats:
        """The column's numbers, in its own unit."""
        return self.file.floats(column)


def latency_in_ms(rows: TableRows) -> Floats:
    """Seconds of each row, from the column that most tables have, in milliseconds."""
    return rows.floats("latency") * MILLISECOND


@dataclass(frozen=True, slots=True)
class Layout:
    """How one table is read: its rows' kinds from columns of names, its points from numbers."""

    table: str
    family: str
    names: tuple[str, ...]
    kind: Callable[[str, Names], Kind | None]
    """The kind of the rows with these names, measured in this source; None leaves them out.

    `kernel_source` is among the names of every table.
    """
    points: Callable[[TableRows], Sequence[Ints]]
    """One array for each dimension of the operation (a single number where it is the same)."""
    seconds: Callable[[TableRows], Floats] = latency_in_ms
    sources: frozenset[str] = field(default_factory=frozenset[str])
    """The sources it is read from; none named means all."""

    def reads(self, file: TableFile) -> bool:
        """Whether it is the layout of this file."""
        known_source = not self.sources or file.source in self.sources
        return (file.family, file.table) == (self.family, self.table) and known_source


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one kind and kernel in one file."""

    kind: Kind
    kernel: str
    file: TableFile
    points: Ints
    seconds: Floats


def groups(file: TableFile, layout: Layout, gpus_per_node: int) -> Iterator[Group]:
    """The file's rows, by kind and kernel; InputError for a file that does not fit the layout."""
    rows = TableRows(ParquetFile(file.path), gpus_per_node)
    seconds = layout.seconds(rows)
    arrays = layout.points(rows)
    points = np.empty((len(seconds), len(arrays)), np.int64)
    for column, array in enumerate(arrays):
        points[:, column] = array
    for names, places in _by_names(rows, ("kernel_source", *layout.names)):
        try:
            kind = layout.kind(file.source, names)
        except InputError as error:
            raise InputError(f"`{file.path}`: {error.message}", hint=error.hint) from error
        if kind is not None:
            yield Group(kind, names["kernel_source"], file, points[places], seconds[places])


def _by_names(rows: TableRows, columns: Sequence[str]) -> Iterator[tuple[dict[str, str], Ints]]:
    """Each combination of the columns' values that occurs, and the places of its rows."""
    values: list[list[str]] = []
    combined = np.zeros(1, np.int64)
    for column in columns:
        codes, known = rows.file.names(column)
        values.append(known)
        combined = combined * len(known) + codes
    order = np.argsort(combined, kind="stable")
    starts = np.flatnonzero(np.diff(combined[order], prepend=-1))
    for places in np.split(order, starts[1:]):
        rest = int(combined[places[0]])
        names: dict[str, str] = {}
        for column, known in zip(reversed(columns), reversed(values), strict=True):
            rest, code = divmod(rest, len(known))
            names[column] = known[code]
        yield names, places
