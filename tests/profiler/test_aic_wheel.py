"""The public AIConfigurator database itself: every system, its known faults, and the time it takes.

Runs where `aiconfigurator-core` is installed; the tiny databases of the other tests are its layout.
"""

from __future__ import annotations

import importlib.util
import time
from collections import defaultdict

import numpy as np
import pytest

from servecast.primitives.cost_table import CostTable
from servecast.profiler import import_system, systems, systems_root
from servecast.profiler.aic_package import table_files

INSTALLED = all(importlib.util.find_spec(n) for n in ("aiconfigurator_core", "pyarrow"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not INSTALLED, reason='needs pip install "servecast[aic]"'),
]
MEASURED = (
    *("a100_sxm_80gb", "arc_pro_b60", "b200_sxm", "b300_sxm", "gb200", "gb300"),
    *("h100_sxm", "h200_sxm", "l40s", "rtx_pro_6000_server"),
)


def test_ten_systems_are_measured() -> None:
    assert systems() == MEASURED


def test_the_end_to_end_measurements_are_never_listed() -> None:
    files = [file.path.name for name in MEASURED for file in table_files(name, systems_root())]
    assert all(name.endswith("_perf.parquet") for name in files)


@pytest.mark.parametrize("device", MEASURED)
def test_every_table_is_whole(device: str) -> None:
    keys = set[object]()
    for table in import_system(device):
        assert table.key not in keys
        keys.add(table.key)
        assert table.key.device == device
        assert len(table) > 0
        assert 1e-6 < table.seconds.min() < table.seconds.max() < 10


def test_the_database_of_a_device_is_read_in_seconds_and_found_again_at_once() -> None:
    started = time.process_time()
    first = import_system("h200_sxm")
    read = time.process_time()
    second = import_system("h200_sxm")
    assert read - started < 3.0
    assert time.process_time() - read < 0.3
    assert [table.key for table in first] == [table.key for table in second]
    assert all(np.array_equal(a.points, b.points) for a, b in zip(first, second, strict=True))
    products = [t for t in first if t.key.operation == "gemm" and t.key.source == "vllm"]
    assert sum(map(len, products)) == 107_225


def smallest(table: CostTable) -> float:
    """The shortest time of a product of at most 16 tokens."""
    return float(table.seconds[table.points[:, 0] <= 16].min())


@pytest.mark.parametrize("device", MEASURED)
def test_tables_marked_eager_are_those_that_hold_the_launch(device: str) -> None:
    """Launch-bound: no small product below 20 µs, four times what another engine's kernel takes."""
    formats: dict[tuple[str, str | None], list[CostTable]] = defaultdict(list)
    for table in import_system(device, families=["gemm"]):
        if table.points[:, 0].min() <= 16:
            formats[table.key.dtype, table.key.traits.get("scaling")].append(table)
    for rivals in formats.values():
        for table in rivals:
            others = [smallest(each) for each in rivals if each.key.source != table.key.source]
            least = min(others, default=float("inf"))
            launch_bound = smallest(table) > max(20e-6, 4 * least)
            assert launch_bound == table.key.is_eager, table.key


def test_reductions_in_graphs_are_faster_than_outside() -> None:
    tables = import_system("h200_sxm", sources=["vllm"], families=["collectives"])
    graph, eager = sorted(tables, key=lambda table: table.key.is_eager)
    assert graph.seconds[0] == pytest.approx(4.378e-6, rel=1e-3)
    assert eager.seconds[0] == pytest.approx(20.827e-6, rel=1e-3)


@pytest.mark.parametrize("device", ["h200_sxm", "b200_sxm"])
def test_messages_are_counted_in_elements(device: str) -> None:
    """The largest reductions over 8 GPUs reach the link's rate only if elements are two bytes."""
    tables = import_system(device, sources=["vllm"], families=["collectives"])
    graph = next(table for table in tables if not table.key.is_eager)
    elements, ranks = graph.points.T
    (last,) = np.flatnonzero((elements == elements.max()) & (ranks == 8))
    rate = 2 * 7 / 8 * 2 * elements[last] / graph.seconds[last]
    link = {"h200_sxm": 450e9, "b200_sxm": 900e9}[device]
    assert 0.5 * link < rate < 1.1 * link
