"""The cost source that reads measured tables: exact on their points, interpolated between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

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
"""Half-width of the band around a point measured once: 90 % of the 5,100 points that the
AIConfigurator tables of an H200 hold twice lie within it of their mean."""

UNTESTED_ERROR = 0.5
"""The band where a table is too small to leave anything out of: a guess."""

_ORDER = list(Provenance)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A surface of one table, and what it was made of."""

    sites: Sites
    surface: Surface
    is_measured: bool
    """Whether its site is one of the table's."""
    is_own: bool
    """Whether the table is of a source that the deployment runs."""


class TableSource:
    """Measured costs as a `CostSource`: compiled step costs ask it for whole curves.

    It answers for matrix products, attention, experts and all-reduce; anything else, and shapes
    with nothing like them in the tables, it refuses with UnsupportedError, so chain it. Tables that
    hold launches instead of kernels are not read. Curves are built when first asked for.
    """

    def __init__(self, store: CostStore, preferences: TablePreferences) -> None:
        self._store, self._preferences = store, preferences
        self._unusable = launch_bound(store)
        self._tables: dict[tuple[Operation, str], list[tuple[Sites, bool]]] = {}
        self._answers: dict[tuple[Operation, str, Site], tuple[_Answer, ...]] = {}

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation`, with the least known of its points as provenance.

        UnsupportedError where no table has an answer.
        """
        found = place(operation)
        answers = self._found(operation, device, found) if found else ()
        if not found or not answers:
            raise UnsupportedError(
                f"no measured table of {device.name} has an answer for {type(operation).__name__}",
                hint="import or profile one, or chain this source with a roofline",
            )
        at = tuple(np.asarray(size, dtype=np.float64) for size in found.at)
        costs = [_cost(answer, at) for answer in answers]
        if found.kind.operation in self._preferences.fastest:
            return min(costs, key=lambda cost: float(np.sum(cost.seconds)))
        best = costs[0]
        if isinstance(operation, AllReduce) and best.provenance is Provenance.EXTRAPOLATED:
            seconds = np.minimum.reduce([np.asarray(cost.seconds) for cost in costs])
            return Cost(seconds, best.provenance, best.relative_error)
        return best
