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
from servecast.primitives.measured_table import Answer, MeasuredTable, MeasuredTables
from servecast.primitives.mixed_attention import MixedRatio, mixed_ratio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity, SparseAttention
from servecast.primitives.sites import Site
from servecast.primitives.stand_ins import StandIn, stand_in
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
from servecast.primitives.utilisation import Floats

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
        seconds = self.seconds(operation, device)
        at, _, answers = self._read(operation, device)
        if answers:
            return Cost(seconds, *answers[0].origin(at))
        other = _other(operation, device)
        _, main = other.parts[0]
        error = max(other.relative_error, self.cost(main, device).relative_error)
        return Cost(seconds, Provenance.EXTRAPOLATED, error)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone; UnsupportedError where no table has an answer."""
        at, kind, answers = self._read(operation, device)
        if not answers:
            parts = _other(operation, device).parts
            return sum((count * self.seconds(part, device) for count, part in parts), 0.0)
        seconds = answers[0].surface.seconds(*at)
        for rival in self._rivals(kind, at, answers):
            seconds = np.minimum(seconds, rival.surface.seconds(*at))
        if isinstance(operation, SparseAttention):  # less what the step prices on its own
            products = sum((self.seconds(each, device) for each in operation.products), 0.0)
            seconds = np.maximum(seconds - products, ideal_s(operation.attended, device))
        return seconds

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """Of the first source whose calls for prompts beside decodes were measured."""

        def alone(operation: Operation) -> float:
            return float(self.seconds(operation, device))

        store = self._measured.store
        asked = (
            mixed_ratio(store, device.name, source, attention, alone)
            for source in self._preferences.sources
        )
        return next((ratio for ratio in asked if ratio is not None), None)

    def _rivals(
        self, kind: TableKind | None, at: tuple[Floats, ...], answers: list[Answer]
    ) -> list[Answer]:
        """Who may undercut the best answer: the least of them counts at each size.

        Those are kernels that preferences take the fastest of, all-reduce beyond its table, where
        engines hand over to a library, and latent attention that only siblings have kernels of:
        what vLLM's modules take more with a longer context or prompt is what the faster sibling's
        kernel does (docs/costs/tables.md).
        """
        best, *others = answers
        is_borrowed = kind in (MLA_PREFILL, MLA_DECODE) and not best.is_own
        if is_borrowed or best.table.table.key.operation in self._preferences.fastest:
            return others
        if kind is ALL_REDUCE and best.origin(at)[0] is Provenance.EXTRAPOLATED:
            return [answer for answer in others if answer.is_own]
        return []

    def _read(
        self, operation: Operation, device: Accelerator
    ) -> tuple[tuple[Floats, ...], TableKind | None, list[Answer]]:
        """The operation's growing sizes, the kind of its tables, and what these answer."""
        found = place(operation)
        if found is None:
            return (), None, []
        alike = resized(operation, (1,) * len(found.site), (1.0,) * len(found.at))
        at = tuple(np.asarray(size, dtype=np.float64) for size in found.at)
        return at, found.kind, self._at(alike, device, found)

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


def _other(operation: Operation, device: Accelerator) -> StandIn:
    """What stands in for an operation that tables do not have; UnsupportedError for nothing."""
    other = stand_in(operation, device)
    if other is None:
        raise UnsupportedError(
            f"no table of {device.name} has an answer for {type(operation).__name__}",
            hint="import or profile one, or chain this source with a roofline",
        )
    return other


def _answers(tables: _BySource, sources: tuple[str, ...], site: Site) -> Iterator[Answer]:
    """Each source's answer: of its first table that has the site, else of the first near it."""
    for source in sources:
        own = tables.get(source, ())
        measured = (answer for table in own if (answer := table.measured(site)))
        predicted = (answer for table in own if (answer := table.predicted(site)))
        answer = next(measured, None) or next(predicted, None)
        if answer is not None:
            yield answer
