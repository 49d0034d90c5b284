"""The default chain of cost sources over what was measured on a device."""

from __future__ import annotations

from collections.abc import Iterator

from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import CostSource
from servecast.primitives.elementwise_source import ElementwiseSource
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource


def measured_chain(
    measured: MeasuredTables, preferences: TablePreferences, last: CostSource
) -> CostSource:
    """Tables first, then elementwise layers of the preferred sources that have any, then `last`."""

    def sources() -> Iterator[CostSource]:
        yield TableSource(measured, preferences)
        for name in preferences.sources:
            if measured.has_operation("elementwise", name):
                yield ElementwiseSource(measured.store, name)
        yield last

    return ChainedSource(list(sources()))
