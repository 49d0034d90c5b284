"""The cost source that reads measured tables: exact on their points, interpolated between them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.operations import AllReduce, Operation
from servecast.primitives.sites import Site, Sites
from servecast.primitives.table_checks import launch_bound
from servecast.primitives.table_kinds import Place, ideal_s, place, resized, rows
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.utilisation import Floats, Surface

REPEAT_ERROR = 0.04
"""Half-width of the band around a point measured once: 90 % of the points that the AIConfigurator
tables of an H200 hold twice lie within it of their mean."""

UNTESTED_ERROR = 0.5
"""The band where a table is too small to leave anything out of it: a guess."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The surface of one site in one table, and how it was come by."""

    sites: Sites
    surface: Surface
    is_measured: bool
    is_own: bool
    """Whether the table's source is one that the deployment runs."""
    repeat_error: float

    def cost(self, at: tuple[Floats, ...]) -> Cost:
        found = self.surface.provenance(*at)
        if not self.is_own:
            known = Provenance.EXTRAPOLATED
        elif found is Provenance.MEASURED and not self.is_measured:
            known = Provenance.INTERPOLATED
        else:
            known = found
        error = self._relative_error(found)
        seconds = self.surface.seconds(*at)
        return Cost(seconds, known, UNTESTED_ERROR if math.isnan(error) else error)

    def _relative_error(self, found: Provenance) -> float:
        if found is Provenance.EXTRAPOLATED:
            return self.sites.end_error
        if not self.is_measured:
            return self.sites.site_error
        return self.repeat_error if found is Provenance.MEASURED else self.sites.point_error


_Tables = dict[str, list[tuple[CostTable, Sites]]]


class TableSource:
    """Measured costs as a `CostSource`: compiled step costs ask it for whole curves.

    It answers for matrix products, attention, experts and all-reduce; anything else, and shapes
    with nothing like them in the tables, it refuses with UnsupportedError, so chain it. Tables that
    hold launches instead of kernels are not read. Curves are built when they are first asked for.
    """

    def __init__(self, store: CostStore, preferences: TablePreferences) -> None:
        self._store, self._preferences = store, preferences
        self._unusable = {finding.key for finding in launch_bound(store)}
        self._tables: dict[tuple[Operation, str], _Tables] = {}
        self._answers: dict[tuple[Operation, str, Site], list[_Answer]] = {}

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation`, with the provenance of the least known of its points.

        UnsupportedError where no table has an answer.
        """
        found = place(operation)
        answers = self._at(operation, device, found) if found else []
        if not found or not answers:
            raise UnsupportedError(
                f"no table of {device.name} has an answer for {type(operation).__name__}",
                hint="import or profile one, or chain this source with a roofline",
            )
        at = tuple(np.asarray(size, dtype=np.float64) for size in found.at)
        best = answers[0].cost(at)
        rivals: list[_Answer] = []
        if found.kind.operation in self._preferences.fastest:
            rivals = answers[1:]
        elif isinstance(operation, AllReduce) and best.provenance is Provenance.EXTRAPOLATED:
            rivals = [answer for answer in answers[1:] if answer.is_own]
        seconds = [best.seconds, *(rival.cost(at).seconds for rival in rivals)]
        return Cost(np.minimum.reduce(seconds), best.provenance, best.relative_error)

    def _at(self, operation: Operation, device: Accelerator, found: Place) -> list[_Answer]:
        """The answer of each source for the operation's site, best first."""
        alike = resized(operation, (1,) * len(found.site), (1.0,) * len(found.at))
        key = (alike, device.name, found.site)
        answers = self._answers.get(key)
        if answers is None:
            tables = self._of(alike, device, found)
            answers = [
                answer
                for source in (*self._preferences.sources, *self._preferences.siblings)
                if (answer := self._answer(tables.get(source, []), found.site)) is not None
            ]
            answers.sort(key=lambda answer: (not answer.is_own, not answer.is_measured))
            self._answers[key] = answers
        return answers

    def _answer(self, tables: list[tuple[CostTable, Sites]], site: Site) -> _Answer | None:
        """From the first of one source's tables that has the site, else the first near it."""
        for is_measured in (True, False):
            for table, sites in tables:
                surface = sites.measured(site) if is_measured else sites.predicted(site)
                if surface is not None:
                    is_own = table.key.source in self._preferences.sources
                    return _Answer(sites, surface, is_measured, is_own, _repeat_error(table))
        return None

    def _of(self, alike: Operation, device: Accelerator, found: Place) -> _Tables:
        """The tables that may speak for operations like this one, by source, best first."""
        tables = self._tables.get((alike, device.name))
        if tables is None:
            tables = self._tables[alike, device.name] = defaultdict(list)
            for table in self._usable(alike, found.kind.operation, device.name):
                tables[table.key.source].append((table, _sites(table, alike, device, found)))
        return tables

    def _usable(self, alike: Operation, operation: str, device: str) -> list[CostTable]:
        """Tables that hold kernels and fit the operation, best first."""
        ranked = [
            (rank, order, table)
            for order, table in enumerate(self._store.find(operation, device))
            if table.key not in self._unusable
            and (rank := self._preferences.rank(table.key, alike)) is not None
        ]
        return [table for _, _, table in sorted(ranked, key=lambda each: each[:2])]


def _sites(table: CostTable, alike: Operation, device: Accelerator, found: Place) -> Sites:
    def ideal(site: Site, *at: Floats) -> Floats:
        return ideal_s(resized(alike, site, at), device)

    rigid = [name in found.kind.rigid for name in found.kind.site]
    return Sites(*rows(table, found.kind), ideal, rigid)


def _repeat_error(table: CostTable) -> float:
    known = table.spread[np.isfinite(table.spread)]
    return float(np.quantile(known, 0.9)) if len(known) else REPEAT_ERROR
