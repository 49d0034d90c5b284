"""The measured costs of devices: tables by key, from files, packages and our own profiler."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np

from servecast.primitives.cost_table import CostTable, TableKey, cost_table


class CostStore:
    """Cost tables by key. Importers and the profiler fill it; table sources read it.

    Versions of an engine are different keys and stay apart. Tables of one key become one, of which
    points measured in both are the mean, and their distance widens the spread.
    """

    def __init__(self, tables: Iterable[CostTable] = ()) -> None:
        self._tables: dict[TableKey, CostTable] = {}
        self._by_operation: dict[tuple[str, str], list[TableKey]] = defaultdict(list)
        for table in tables:
            self.add(table)

    def __len__(self) -> int:
        return len(self._tables)

    def __iter__(self) -> Iterator[CostTable]:
        """All tables, in the order of their keys."""
        return iter([self._tables[key] for key in sorted(self._tables, key=key_order)])

    def add(self, table: CostTable) -> None:
        """Hold the table, together with what is already held under its key."""
        held = self._tables.get(table.key)
        if held is None:
            self._by_operation[table.key.operation, table.key.device].append(table.key)
        self._tables[table.key] = table if held is None else _joined(held, table)

    def merge(self, other: Self) -> None:
        """Hold every table of another store too."""
        for table in other:
            self.add(table)

    def find(
        self,
        operation: str,
        device: str,
        *,
        dtype: str | None = None,
        source: str | None = None,
        version: str | None = None,
    ) -> list[CostTable]:
        """The tables of an operation on a device, newest version first, then larger ones first.

        Without a dtype, a source or a version: of all of them.
        """
        wanted = {"dtype": dtype, "source": source, "version": version}
        given = {name: value for name, value in wanted.items() if value is not None}
        found = [
            self._tables[key]
            for key in self._by_operation.get((operation, device), ())
            if all(getattr(key, name) == value for name, value in given.items())
        ]
        found.sort(key=lambda table: (-len(table), key_order(table.key)))
        return sorted(found, key=lambda table: version_order(table.key.version), reverse=True)

    def devices(self) -> tuple[str, ...]:
        """Names of the devices that something was measured on, sorted."""
        return tuple(sorted({key.device for key in self._tables}))


def version_order(version: str) -> tuple[int, ...]:
    """The numbers of a version, which sort as versions do (release candidates count on)."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def key_order(key: TableKey) -> tuple[str, ...]:
    """How keys sort: by device, operation, format, then kernel."""
    kernel = (key.source, key.version, key.variant, str(key.is_eager))
    return key.device, key.operation, key.dtype, *kernel


def _joined(one: CostTable, other: CostTable) -> CostTable:
    origins = dict.fromkeys(origin for origin in (one.origin, other.origin) if origin)
    return cost_table(
        one.key,
        np.concatenate([one.points, other.points]),
        np.concatenate([one.seconds, other.seconds]),
        spread=np.concatenate([one.spread, other.spread]),
        origin=" + ".join(origins),
    )
