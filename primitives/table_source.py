"""The cost source that reads measured tables: exact on their points, interpolated between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_table import CostTable
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.measured_table import SIBLING_ERROR, Answer, MeasuredTable, MeasuredTables
from servecast.primitives.operations import Operation, SparseAttention
from servecast.primitives.sites import Site
from servecast.primitives.stand_ins import stand_in
from servecast.primitives.table_kinds import (
    ALL_REDUCE,
    MLA_DECODE,
    MLA_PREFILL,
    Place,
    TableKind,
    place,
    resized,
)
from servecast.primitives.table_preferences import TablePreferences

_BySource = dict[str, list[MeasuredTable]]


class TableSource:
    """Measured costs as a `CostSource`: compiled step costs ask it for whole curves.

    It answers for matrix products, attention, experts and all-reduce; anything else, and shapes
    with nothing like them in the tables, it refuses with UnsupportedError, so chain it. Curves are
    built when they are first asked for.
    """

    def __init__(self, measured: MeasuredTables, preferences: TablePreferences) -> None:
        self._measured, self._preferences = measured, preferences
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
                cost = self._least(answers, found)
                if isinstance(operation, SparseAttention):
                    return self._without_products(cost, operation, device)
                return cost
        if other := stand_in(operation, device):
            cost = self.cost(other, device)
            error = max(cost.relative_error, SIBLING_ERROR)
            return Cost(cost.seconds, Provenance.EXTRAPOLATED, error)
        raise UnsupportedError(
            f"no table of {device.name} has an answer for {type(operation).__name__}",
            hint="import or profile one, or chain this source with a roofline",
        )

    def _without_products(self, cost: Cost, module: SparseAttention, device: Accelerator) -> Cost:
        """A module's cost less that of the projections in it, which the step prices on its own."""
        products = sum((self.cost(each, device).seconds for each in module.products), 0.0)
        least = ideal_s(module.attended, device)
        return replace(cost, seconds=np.maximum(cost.seconds - products, least))

    def _least(self, answers: list[Answer], found: Place) -> Cost:
        """The best answer, or where another may undercut it the least of them at each size.

        Those are kernels that preferences take the fastest of, all-reduce beyond its table, where
        engines hand over to a library, and latent attention that only siblings have kernels of:
        what vLLM's modules take more with a longer context or prompt is what the faster sibling's
        kernel does (docs/cost-tables.md).
        """
        at = tuple(np.asarray(size, dtype=np.float64) for size in found.at)
        best = answers[0].cost(at)
        rivals: list[Answer] = []
        is_borrowed = found.kind in (MLA_PREFILL, MLA_DECODE) and not answers[0].is_own
        if is_borrowed or found.kind.operation in self._preferences.fastest:
            rivals = answers[1:]
        elif found.kind is ALL_REDUCE and best.provenance is Provenance.EXTRAPOLATED:
            rivals = [answer for answer in answers[1:] if answer.is_own]
        seconds = best.seconds
        for rival in rivals:
            seconds = np.minimum(seconds, rival.surface.seconds(*at))
        return Cost(seconds, best.provenance, best.relative_error)

    def _at(self, alike: Operation, device: Accelerator, found: Place) -> list[Answer]:
        """An answer of each source that has one, best first; siblings where they are needed."""
        key = (alike, device.name, found.site)
        answers = self._answers.get(key)
        if answers is None:
            tables, wanted = self._of(alike, device, found.kind), self._preferences
            answers = [*_answers(tables, wanted.sources, found.site)]
            if not answers or found.kind.operation in wanted.fastest:
                siblings = _answers(tables, wanted.siblings, found.site)
                answers += [replace(answer, is_own=False) for answer in siblings]
            answers.sort(key=lambda answer: answer.rank)
            self._answers[key] = answers
        return answers

    def _of(self, alike: Operation, device: Accelerator, kind: TableKind) -> _BySource:
        """The tables that may speak for operations like this one, by source, best first."""
        tables = self._tables.get((alike, device.name))
        if tables is None:
            tables = self._tables[alike, device.name] = defaultdict(list)
            for table in self._fitting(alike, self._measured.find(kind.operation, device)):
                read = self._measured.read(table, alike, device)
                tables[table.key.source].append(read)
        return tables

    def _fitting(self, alike: Operation, tables: list[CostTable]) -> list[CostTable]:
        """Those tables that fit the operation, best first."""
        ranked = [
            (rank, order, table)
            for order, table in enumerate(tables)
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
