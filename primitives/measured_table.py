"""Tables as table sources read them, and their answers for sites."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.operations import DecodeAttention, Operation
from servecast.primitives.sites import Site, Sites, ninetieth
from servecast.primitives.table_checks import launch_bound
from servecast.primitives.table_kinds import KINDS, resized, rows
from servecast.primitives.utilisation import Floats, Surface

REPEAT_ERROR = 0.04
"""Half-width of the band around a point measured once: 90 % of the points that the AIConfigurator
tables of an H200 hold twice lie within it of their mean."""

SIBLING_ERROR = 0.5
"""The least band around another engine's kernel, and around one whose table is too small to test.
Taken for each other's, experts of two engines are off by a factor of 1.2 at the median and of 1.5
to 3.0 at the 90 % quantile (five pairs of AIConfigurator tables, H200)."""

BEST_FIRST = list(Provenance)


class MeasuredTable:
    """A table, read for operations that differ in site and sizes only; sorted out when asked."""

    def __init__(self, table: CostTable, alike: Operation, device: Accelerator) -> None:
        """`alike` is one of the operations."""
        self.table = table
        self._alike, self._device = alike, device
        self._token_s: dict[Site, float] = {}

    @cached_property
    def sites(self) -> Sites:
        """The shapes that were measured."""
        kind = KINDS[self.table.key.operation]
        rigid = [name in kind.rigid for name in kind.site]
        return Sites(*rows(self.table, kind), self._ideal, rigid)

    @cached_property
    def repeat_error(self) -> float:
        """Relative error that 90 % of repeats stay within."""
        spread = self.table.spread[np.isfinite(self.table.spread)]
        return ninetieth(spread) if len(spread) else REPEAT_ERROR

    def measured(self, site: Site) -> Answer | None:
        """The answer for a measured shape; None for any other."""
        surface = self.sites.measured(site)
        return None if surface is None else Answer(self, surface, Provenance.MEASURED)

    def predicted(self, site: Site) -> Answer | None:
        """The answer that shapes near this one suggest; None where none is near."""
        found = self.sites.predicted(site)
        if found is None:
            return None
        known = Provenance.INTERPOLATED if found.is_between else Provenance.EXTRAPOLATED
        return Answer(self, found.surface, known)

    def _ideal(self, site: Site, *at: Floats) -> Floats:
        if not isinstance(self._alike, DecodeAttention):
            return ideal_s(resized(self._alike, site, at), self._device)
        token_s = self._token_s.get(site)  # a decode's work is in proportion to what it reads
        if token_s is None:
            one = resized(self._alike, site, (1.0, 1.0))
            token_s = self._token_s[site] = float(ideal_s(one, self._device))
        return at[0] * at[1] * token_s


@dataclass(frozen=True, slots=True)
class Answer:
    """The surface of one site in one table, and how it was come by."""

    table: MeasuredTable
    surface: Surface
    known: Provenance
    """Of the site: its points are known no better."""
    is_own: bool = True
    """Whether the deployment runs kernels of the table's source."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Own kernels come first, then what is known best."""
        return not self.is_own, BEST_FIRST.index(self.known)

    def origin(self, at: tuple[Floats, ...]) -> tuple[Provenance, float]:
        """The provenance of the least known of these sizes, and the error to expect there."""
        points = self.surface.provenance(*at)
        known, error = max(points, self.known, key=BEST_FIRST.index), self._relative_error(points)
        if not self.is_own:
            return Provenance.EXTRAPOLATED, max(error, SIBLING_ERROR)
        return known, error

    def _relative_error(self, points: Provenance) -> float:
        sites = self.table.sites
        if points is Provenance.EXTRAPOLATED:
            error = sites.end_error
        elif self.known is not Provenance.MEASURED:
            error = sites.site_error
        else:
            is_point = points is Provenance.MEASURED
            error = self.table.repeat_error if is_point else sites.point_error
        return SIBLING_ERROR if math.isnan(error) else error


class MeasuredTables:
    """The tables of a store; sources of different preferences share what was read of them.

    Tables that hold launches instead of kernels are not among them.
    """

    def __init__(self, store: CostStore) -> None:
        self.store = store
        self._unusable = {finding.key for finding in launch_bound(store)}
        self._versions = {(table.key.source, table.key.version) for table in store}
        self._operations = {(table.key.operation, table.key.source) for table in store}
        self._read: dict[tuple[TableKey, Operation], MeasuredTable] = {}

    def has_version(self, source: str, version: str) -> bool:
        """Whether anything was measured in this version of an engine or library."""
        return (source, version) in self._versions

    def has_operation(self, operation: str, source: str) -> bool:
        """Whether anything was measured of this operation in an engine or library."""
        return (operation, source) in self._operations

    def find(self, operation: str, device: Accelerator) -> list[CostTable]:
        """The tables of an operation that hold kernels, newest version first."""
        found = self.store.find(operation, device.name)
        return [table for table in found if len(table) and table.key not in self._unusable]

    def read(self, table: CostTable, alike: Operation, device: Accelerator) -> MeasuredTable:
        """The table as it answers for operations like this one."""
        key = (table.key, alike)
        if key not in self._read:
            self._read[key] = MeasuredTable(table, alike, device)
        return self._read[key]
