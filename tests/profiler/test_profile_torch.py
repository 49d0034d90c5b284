"""Kernels of PyTorch on this machine's CPU: seconds that a clock has seen, in a file."""

from __future__ import annotations

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
from servecast.profiler.probe import Probe
from servecast.profiler.profiling import Budget
from servecast.profiler.torch_bench import TorchBench
from servecast.profiler.torch_kernels import MOST_COPIES, Tensors, kernel_of
from tests.profiler.probe_cases import order

pytestmark = [pytest.mark.slow, pytest.mark.engine]  # PyTorch comes with the engine


@pytest.fixture
def torch() -> ModuleType:
    found: ModuleType = pytest.importorskip("torch")
    return found


@pytest.mark.usefixtures("torch")
def test_a_few_seconds_on_the_cpu(tmp_path: Path) -> None:
    bench, target = TorchBench("cpu"), tmp_path / "costs.csv"
    asked = replace(order(), dtype=Dtype.FP32)
    found = measure(bench, asked, target, Budget(15.0, monotonic), lambda progress: None)
    refused = [reason for reason in found.progress.refused if "would take more" not in reason]
    assert refused == []
    assert found.progress.measured >= 10
    assert {table.key.operation for table in read_costs(target)} == {
        "gemm",
        "prefill_attention",
        "decode_attention",
        "elementwise",
        "sampling",
    }
    assert 0 < found.launch_s["call"] < 1e-3
    for table in found.tables:
        assert np.all((table.seconds > 1e-7) & (table.seconds < 10))
        assert np.all(table.spread >= 0)
        assert table.key.version.startswith("torch ")


def test_a_chunk_sees_its_past_and_no_later_token(torch: ModuleType) -> None:
    key = TableKey("prefill_attention", "h200_sxm", "fp32", "servecast", "1")
    whole, chunk = (
        kernel_of(Probe(key, (1, new, past, 4, 2, 16, 0))) for new, past in ((32, 0), (8, 24))
    )
    torch.manual_seed(0)
    query, keys, values = (torch.randn(1, heads, 32, 16) for heads in (4, 2, 2))
    assert (whole.mask, chunk.mask) == (None, (8, 32))
    mask = Tensors(torch, "cpu", "fp32", 2**30).mask((8, 32))
    expected = whole.call(torch, [query, keys, values])
    last = chunk.call(torch, [query[:, :, 24:], mask, keys, values])
    assert bool(torch.allclose(torch.narrow(expected, 2, 24, 8), last, atol=1e-5))


def test_a_decode_reads_every_cached_token_of_its_own_kv_head(torch: ModuleType) -> None:
    key = TableKey("decode_attention", "h200_sxm", "fp32", "servecast", "1")
    kernel = kernel_of(Probe(key, (3, 9, 4, 2, 16, 0)))
    shapes = (*kernel.hot, *kernel.cold)
    assert shapes == ((3, 4, 1, 16), (3, 2, 9, 16), (3, 2, 9, 16))
    query, keys, values = (torch.zeros(shape) for shape in shapes)
    values[:, 1] = torch.arange(9.0)[:, None]  # even shares: the mean, of the second KV head
    out = kernel.call(torch, [query, keys, values])
    assert torch.mean(out, dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 4, 4])


def test_calls_take_turns_on_copies_that_exceed_the_cache(torch: ModuleType) -> None:
    key = TableKey("gemm", "h200_sxm", "fp32", "servecast", "1")
    kernel = kernel_of(Probe(key, (2, 64, 64)))  # weights of 16 KiB
    tensors = Tensors(torch, "cpu", "fp32", 2**30)
    assert len(tensors.calls(kernel, 2**16)) == 4
    assert len(tensors.calls(kernel, 2**40)) == MOST_COPIES


def test_memory_that_is_short_is_a_reason(torch: ModuleType) -> None:
    key = TableKey("gemm", "h200_sxm", "fp32", "servecast", "1")
    with pytest.raises(UnsupportedError, match="free memory"):
        Tensors(torch, "cpu", "fp32", 2**20).calls(kernel_of(Probe(key, (1, 4096, 4096))), 1)
