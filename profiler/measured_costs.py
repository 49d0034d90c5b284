"""Costs of deployments from the imported kernel database, with the roofline behind it."""

from __future__ import annotations

from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.deployment import Deployment
from servecast.primitives.measured_chain import measured_chain
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.primitives.table_preferences import TablePreferences
from servecast.profiler.aic_package import systems
from servecast.profiler.aiconfigurator import import_system

BESIDE_TABLES = RooflineCoefficients(elementwise_bandwidth=0.8, operation_s=3e-6)
"""What tables do not hold: the database's own constants for work bound by memory (all its
`<system>.yaml`: `mem_bw_empirical_scaling_factor`, `mem_empirical_constant_latency`)."""


class MeasuredCosts:
    """Gives a deployment the tables of its device and engine; each device is imported once.

    Devices that were not measured have the roofline alone. Versions of an engine that were not
    measured share a source. InputError where the database is not installed.
    """

    def __init__(self) -> None:
        self._devices = frozenset(systems())
        self._measured: dict[str, MeasuredTables] = {}
        self._sources: dict[tuple[str, ...], CostSource] = {}
        self._roofline = RooflineSource()
        self._beside_tables = RooflineSource(BESIDE_TABLES)

    def __call__(self, deployment: Deployment) -> CostSource:
        """The chain of sources for a deployment."""
        device = deployment.accelerator.name
        if device not in self._devices:
            return self._roofline
        tables, engine, kernel = self._tables(device), deployment.engine, deployment.experts_kernel
        is_known = tables.has_version(engine, deployment.engine_version)
        version = deployment.engine_version if is_known else ""
        key = (device, engine, version, kernel)
        if key not in self._sources:
            preferences = TablePreferences.of_engine(engine, version).with_experts(kernel)
            self._sources[key] = measured_chain(tables, preferences, self._beside_tables)
        return self._sources[key]

    def _tables(self, device: str) -> MeasuredTables:
        if device not in self._measured:
            self._measured[device] = MeasuredTables(CostStore(import_system(device)))
        return self._measured[device]
