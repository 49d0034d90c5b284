"""The cost source that reads measured tables: exact on their points, interpolated between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.measured_table import Answer, MeasuredTable
from servecast.primitives.operations import Operation
from servecast.primitives.sites import Site
from servecast.primitives.table_checks import launch_bound
from servecast.primitives.table_kinds import ALL_REDUCE, Place, TableKind, place, resized
from servecast.primitives.table_preferences import TablePreferences

_BySource = dict[str, list[MeasuredTable]]


class TableSource:
    """Measured costs as a `CostSource`: compiled step costs ask it for whole curves.

    It answers for matrix products, attention, experts and all-reduce; anything else, and shapes
    with nothing like them in the tables, it refuses with UnsupportedError, so chain it. Tables that
    hold launches instead of kernels are not read. Curves are built when they are first asked for.
    """

    def __init__(self, store: CostStore, preferences: TablePreferences) -> None:
        self._store, self._preferences = store, preferences
        self._unusable = {finding.key for finding in launch_bound(store)}
        self._tables: dict[tuple[Operation, str], _BySource] = {}
        self._answers: dict[tuple[Operation, str, Site], list[Answer]] = {}

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation`, with the provenance of the least known of its points.

        UnsupportedError where no table has an answer.
        """
        found = place(operation)
        if found is not None:
            alike = resized(operation, (1,) * len(found.site), (1.0,) * len(found.at))
            if answers := self._at(alike, device, found):
                return self._least(answers, found)
        raise UnsupportedError(
            f"no table of {device.name} has an answer for {type(operation).__name__}",
            hint="import or profile one, or chain this source with a roofline",
        )

    def _least(self, answers: list[Answer], found: Place) -> Cost:
        """The best answer, or where another may undercut it the least of them at each size.

        Those are kernels that preferences take the fastest of, and all-reduce beyond its table,
        where engines hand over to a library.
        """
        at = tuple(np.asarray(size, dtype=np.float64) for size in found.at)
        best = answers[0].cost(at)
        rivals: list[Answer] = []
        if found.kind.operation in self._preferences.fastest:
            rivals = answers[1:]
        elif found.kind is ALL_REDUCE and best.provenance is Provenance.EXTRAPOLATED:
            rivals = [answer for answer in answers[1:] if answer.table.is_own]
        seconds = best.seconds
        for rival in rivals:
            seconds = np.minimum(seconds, rival.cost(at).seconds)
        return Cost(seconds, best.provenance, best.relative_error)

    def _at(self, alike: Operation, device: Accelerator, found: Place) -> list[Answer]:
        """An answer of each source that has one, best first; siblings where they are needed."""
        key = (alike, device.name, found.site)
        answers = self._answers.get(key)
        if answers is None:
            tables, wanted = self._of(alike, device, found.kind), self._preferences
            answers = [*_answers(tables, wanted.sources, found.site)]
            if not answers or found.kind.operation in wanted.fastest:
                answers += _answers(tables, wanted.siblings, found.site)
            answers.sort(key=lambda answer: answer.rank)
            self._answers[key] = answers
        return answers

    def _of(self, alike: Operation, device: Accelerator, kind: TableKind) -> _BySource:
        """The tables that may speak for operations like this one, by source, best first."""
        tables = self._tables.get((alike, device.name))
        if tables is None:
            tables = self._tables[alike, device.name] = defaultdict(list)
            for table in self._usable(alike, self._store.find(kind.operation, device.name)):
                is_own = table.key.source in self._preferences.sources
                read = MeasuredTable(table, alike, device, is_own=is_own)
                tables[table.key.source].append(read)
        return tables

    def _usable(self, alike: Operation, tables: list[CostTable]) -> list[CostTable]:
        """Those tables that hold kernels and fit the operation, best first."""
        ranked = [
            (rank, order, table)
            for order, table in enumerate(tables)
            if len(table) and table.key not in self._unusable
            if (rank := self._preferences.rank(table.key, alike)) is not None
        ]
        return [table for _, _, table in sorted(ranked, key=lambda each: each[:2])]


def _answers(tables: _BySource, sources: tuple[str, ...], site: Site) -> Iterator[Answer]:
    """Each source's answer: of its first table that has the site, else of the first near it."""
    for source in sources:
        own = tables.get(source, ())
        measured = (answer for table in own if (answer := table.measured(site)))
        predicted = (answer for table in own if (answer := table.predicted(site)))
        answer = next(measured, None) or next(predicted, None)
        if answer is not None:
            yield answer
