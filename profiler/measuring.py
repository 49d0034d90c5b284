"""A device measured for some models into one cost file: what `servecast profile run` does."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_file import read_costs, write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable
from servecast.primitives.model import ModelSpec
from servecast.primitives.table_preferences import OWN
from servecast.profiler.probe import GROWING, Bench, Probe
from servecast.profiler.probe_grid import coarse_grid
from servecast.profiler.probe_setup import Setup
from servecast.profiler.probe_sites import Shapes, shapes_of
from servecast.profiler.profiling import Budget, Profiling, Progress


@dataclass(frozen=True)
class Order:
    """What is to be measured: the device its rows are filed under, and whose shapes."""

    device: Accelerator
    models: tuple[ModelSpec, ...]
    tensor_parallel_sizes: tuple[int, ...]
    setup: Setup
    operations: frozenset[str] = frozenset(GROWING)

    @cached_property
    def shapes(self) -> Shapes:
        """The models' shapes; InputError for sizes that a model cannot be cut into."""
        sizes = self.tensor_parallel_sizes
        return shapes_of(self.models, sizes, self.setup, self.device, self.operations)

    def grid(self, version: str) -> list[Probe]:
        """The coarse grid over the shapes, for kernels of this version."""
        return coarse_grid(self.shapes.sites, self.device.name, version)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What measuring gave: the tables of this order's kernels, and what is to be said of them."""

    tables: tuple[CostTable, ...]
    """With what the file had of them before."""
    progress: Progress
    launch_s: Mapping[str, float]
    unmeasured: Mapping[str, tuple[str, ...]]
    """Reason to the names of the models that it concerns."""


def measure(
    bench: Bench, order: Order, path: Path, budget: Budget, step: Callable[[Progress], None]
) -> Measurement:
    """Measure what the file at `path` does not have yet, and write it; `step` follows each point.

    Whatever else the file holds stays in it. InputError for a file that is no cost file.
    """
    grid = order.grid(bench.version)
    held = read_costs(path) if path.exists() else CostStore()
    launch_s = bench.launch_s()
    origin = f"servecast profile run, {datetime.date.today().isoformat()}"
    profiling = Profiling(bench, order.device, held, lambda store: write_costs(store, path), origin)
    store = profiling.run(grid, budget, step)
    own = [
        table
        for table in store
        if (table.key.device, table.key.source) == (order.device.name, OWN)
        and table.key.version == bench.version
    ]
    return Measurement(tuple(own), profiling.progress, launch_s, order.shapes.unmeasured)
