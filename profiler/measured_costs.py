"""Costs of deployments from the imported kernel database, with the roofline behind it."""

from __future__ import annotations

from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.profiler.aic_package import systems
from servecast.profiler.aiconfigurator import import_system


class MeasuredCosts:
    """Gives a deployment the tables of its device and engine; each device is imported once.

    Devices that were not measured have the roofline alone. InputError where the database is not
    installed.
    """

    def __init__(self) -> None:
        self._measured = frozenset(systems())
        self._stores: dict[str, CostStore] = {}
        self._sources: dict[tuple[str, str, str], CostSource] = {}
        self._roofline = RooflineSource()

    def __call__(self, deployment: Deployment) -> CostSource:
        """The chain of sources for a deployment."""
        device = deployment.accelerator.name
        if device not in self._measured:
            return self._roofline
        key = (device, deployment.engine, deployment.engine_version)
        if key not in self._sources:
            preferences = TablePreferences.of_engine(deployment.engine, deployment.engine_version)
            tables = TableSource(self._store(device), preferences)
            self._sources[key] = ChainedSource([tables, self._roofline])
        return self._sources[key]

    def _store(self, device: str) -> CostStore:
        if device not in self._stores:
            self._stores[device] = CostStore(import_system(device))
        return self._stores[device]
