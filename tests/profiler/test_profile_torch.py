"""Kernels of PyTorch on this machine's CPU: seconds that a clock has seen, in a file."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import ModuleType

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_table import TableKey
from servecast.primitives.dtype import Dtype
from servecast.profiler.measuring import measure
from servecast.profiler.probe import COLLECTIVES, Probe
from servecast.profiler.probe_setup import Backend, Setup
from servecast.profiler.profiling import Budget
from servecast.profiler.torch_bench import TorchBench
from servecast.profiler.torch_kernels import kernel_of
from servecast.profiler.torch_ranks import TorchRanks
from servecast.profiler.torch_tensors import MOST_COPIES, Tensors
from tests.profiler.probe_cases import order

pytestmark = [pytest.mark.slow, pytest.mark.engine(name="torch")]  # PyTorch comes with the engine

CPU = Setup(Dtype.FP32, Backend.CPU)
GEMM = TableKey("gemm", "h200_sxm", "fp32", "servecast", "1")


@pytest.fixture
def torch() -> ModuleType:
    found: ModuleType = pytest.importorskip("torch")
    return found


@pytest.mark.usefixtures("torch")
def test_a_few_seconds_on_the_cpu(tmp_path: Path) -> None:
    bench, target = TorchBench("cpu"), tmp_path / "costs.csv"
    kinds = frozenset(
        {"gemm", "prefill_attention", "decode_attention", "verify_attention", "sampling"}
    )
    asked = replace(order(setup=CPU), operations=kinds)
    found = measure(bench, asked, target, Budget(15.0, monotonic), lambda progress: None)
    refused = [reason for reason in found.progress.refused if "would take more" not in reason]
    assert refused == []
    assert found.progress.measured >= 10
    assert {table.key.operation for table in read_costs(target)} == kinds
    assert 0 < found.launch_s["call"] < 1e-3
    for table in found.tables:
        assert np.all((table.seconds > 1e-7) & (table.seconds < 10))
        assert np.all(table.spread >= 0)
        assert table.key.version.startswith("torch ")


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("name", COLLECTIVES)
def test_two_processes_reach_each_other(name: str, ranks: TorchBench) -> None:
    key = TableKey(name, "h200_sxm", "fp32", "servecast", "1", "kernel=gloo")
    timing = ranks.time(Probe(key, (4096, 2)))
    assert 1e-6 < timing.seconds < 1


@pytest.fixture(scope="module")
def ranks() -> Generator[TorchBench]:
    pytest.importorskip("torch")
    bench = TorchBench("cpu", processes=2)
    yield bench
    bench.close()


@pytest.mark.usefixtures("torch")
def test_ranks_of_which_one_has_died_are_not_waited_for() -> None:
    others = set(multiprocessing.active_children())
    ranks = TorchRanks("cpu", 2)
    (_, last) = sorted(set(multiprocessing.active_children()) - others, key=lambda each: each.name)
    last.kill()
    last.join()
    probe = Probe(TableKey("all_reduce", "x", "fp32", "servecast", "1", "kernel=gloo"), (64, 2))
    with pytest.raises(UnsupportedError, match="a process of the collectives failed"):
        ranks.time(probe)
    with pytest.raises(UnsupportedError, match="have ended"):
        ranks.time(probe)


def test_calls_take_turns_on_copies_that_exceed_the_cache(torch: ModuleType) -> None:
    kernel = kernel_of(Probe(GEMM, (2, 64, 64)))  # weights of 16 KiB
    tensors = Tensors(torch, "cpu", "fp32", 2**30)
    assert len(tensors.calls(kernel, 2**16)) == 4
    assert len(tensors.calls(kernel, 2**40)) == MOST_COPIES


def test_memory_that_is_short_is_a_reason(torch: ModuleType) -> None:
    with pytest.raises(UnsupportedError, match="free memory"):
        Tensors(torch, "cpu", "fp32", 2**20).calls(kernel_of(Probe(GEMM, (1, 4096, 4096))), 1)


@pytest.mark.usefixtures("torch")
def test_a_kernel_that_does_not_run_here_is_a_reason() -> None:
    flash = TableKey("prefill_attention", "x", "fp32", "servecast", "1", "kernel=flash_varlen")
    with pytest.raises(UnsupportedError, match="PyTorch refuses it"):
        TorchBench("cpu").time(Probe(flash, (1, 16, 0, 4, 2, 16, 8)))
    with pytest.raises(UnsupportedError, match="no kernel for gemm cutlass"):
        kernel_of(Probe(replace(GEMM, variant="kernel=cutlass"), (16, 16, 16)))
