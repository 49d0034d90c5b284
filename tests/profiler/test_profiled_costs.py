"""What is profiled is what step costs read: no operation of a profiled model is left to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.primitives.cost import Provenance
from servecast.primitives.cost_file import read_costs
from servecast.primitives.decomposition import (
    decode_operations,
    head_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.operations import Elementwise, Operation
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.profiler.measuring import measure
from servecast.profiler.probe_setup import Setup
from servecast.profiler.profiling import Budget
from tests.profiler.probe_cases import H200, FakeBench, order

MODELS = ("Qwen/Qwen3-0.6B", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V3")


def served(name: str, setup: Setup) -> Deployment:
    model = order(name).models[0]
    return Deployment(
        model, H200, "vllm", "0.32.0", setup.dtype, setup.wide, 8192, 64, 2048,
        tensor_parallel_size=setup.processes,
    )  # fmt: skip


def operations(deployment: Deployment) -> list[Operation]:
    """Those of decodes and of a chunk, its past within any window; not what only moves bytes."""
    parts = (
        token_operations(deployment, 300.0),
        head_operations(deployment, 17.0),
        prefill_operations(deployment, 284.0, 100.0),
        decode_operations(deployment, 16, 1000.0),
    )
    found = [operation for part in parts for _, operation in part]
    return [operation for operation in found if not isinstance(operation, Elementwise)]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_every_operation_of_a_step_is_read_from_the_profile(
    name: str, processes: int, tmp_path: Path
) -> None:
    setup, bench = Setup(Dtype.BF16, processes=processes), FakeBench()
    asked = order(name, tensor_parallel_size=processes, setup=setup)
    path = tmp_path / "costs.csv.gz"
    measure(bench, asked, path, Budget(1e6, bench.clock), lambda progress: None)
    tables = MeasuredTables(read_costs(path))
    source = TableSource(tables, TablePreferences.of_engine("vllm", "0.32.0"))
    for operation in operations(served(name, setup)):
        cost = source.cost(operation, H200)
        assert cost.provenance in (Provenance.MEASURED, Provenance.INTERPOLATED), operation


def test_products_in_fp8_are_read_for_weights_in_fp8(tmp_path: Path) -> None:
    setup, bench = Setup(Dtype.FP8), FakeBench()
    path = tmp_path / "costs.csv.gz"
    asked = order(setup=setup)
    measure(bench, asked, path, Budget(1e6, bench.clock), lambda progress: None)
    tables = MeasuredTables(read_costs(path))
    source = TableSource(tables, TablePreferences.of_engine("vllm", "0.32.0"))
    for operation in operations(served("Qwen/Qwen3-0.6B", setup)):
        assert source.cost(operation, H200).provenance is not Provenance.EXTRAPOLATED, operation
