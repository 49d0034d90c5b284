"""Rows of costs while a file is read: gathered by table, turned into tables at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.cost_store import key_order
from servecast.primitives.cost_table import CostTable, TableKey, cost_table

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class CostRows:
    """Collects rows in any order for any number of tables; a reader adds, then asks for them."""

    def __init__(self, origin: str) -> None:
        """`origin` is what every table will say of where its rows come from."""
        self._origin = origin
        self._rows: dict[TableKey, list[tuple[Ints, Floats, Floats]]] = defaultdict(list)

    def add(
        self,
        key: TableKey,
        columns: Sequence[Ints | int],
        seconds: Floats,
        spread: Floats | None = None,
    ) -> None:
        """Add rows to a table: for each dimension an array, or a number that is the same in all."""
        points = np.empty((len(seconds), len(columns)), np.int64)
        for place, column in enumerate(columns):
            points[:, place] = column
        known = np.full(len(seconds), np.nan) if spread is None else spread
        self._rows[key].append((points, seconds, known))

    def tables(self) -> list[CostTable]:
        """The tables that have rows, in the order of their keys."""
        made = [self._table(key, parts) for key, parts in self._rows.items()]
        return sorted(
            (table for table in made if len(table)), key=lambda table: key_order(table.key)
        )

    def _table(self, key: TableKey, parts: list[tuple[Ints, Floats, Floats]]) -> CostTable:
        points, seconds, spread = (np.concatenate(each) for each in zip(*parts, strict=True))
        return cost_table(key, points, seconds, spread=spread, origin=self._origin)
