"""One core of this CPU profiled for the forecast of a small model: by the thread's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import product
from statistics import fmean, quantiles

from servecast.primitives.accelerator import Accelerator, Link
from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import DIMENSIONS
from servecast.primitives.dtype import Dtype
from servecast.primitives.elementwise_source import ElementwiseSource
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.model import ModelSpec
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.table_preferences import OWN, TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.profiler.measuring import Order
from servecast.profiler.probe import Probe, Timing
from servecast.profiler.probe_setup import Backend, Setup
from servecast.profiler.profiling import Budget, Profiling
from servecast.profiler.torch_kernels import kernel_of
from servecast.profiler.torch_tensors import Tensors

CORE = Accelerator(
    name="this_cpu",
    vendor="",
    kind="cpu",
    memory_bytes=8 * 2**30,
    bw_bytes_per_s=1e10,
    flops={Dtype.FP32: 1e11, Dtype.BF16: 1e11},
    link=Link("none", 1e9, 1),
    tdp_w=None,
    usd_per_hour=None,
    confidence="guess",
    source="round numbers of one core; times between two measured points go with them",
)
AXES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "gemm": {"m": (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)},
    "prefill_attention": {"past_tokens": (0, 64, 256, 1024), "new_tokens": (1, 4, 16, 64, 256)},
    "elementwise": {"tokens": (1, 16, 64, 256, 1024)},
}
"""Sizes of steps of a few requests; where time is left, more are measured in between."""
CACHE_BYTES = 2**27
LEAST_CALLS, MOST_CALLS, CALLS_S = 5, 60, 0.1


class ThreadBench:
    """Times PyTorch's kernels on one core: a call is the mean of what the thread burns for it.

    The mean, because a step is a sum of calls; and not the wall clock, because other programs do
    not belong in it, though what they push out of the caches does.
    """

    def __init__(self) -> None:
        self._torch = import_module("torch")

    @property
    def version(self) -> str:
        """PyTorch's, with its build."""
        return f"torch {self._torch.__version__}"

    def time(self, probe: Probe) -> Timing:
        """The time of the probe's kernel."""
        tensors = Tensors(self._torch, "cpu", probe.key.dtype, CORE.memory_bytes)
        with self._torch.inference_mode():
            return _timed(tensors.calls(kernel_of(probe), CACHE_BYTES))

    def launch_s(self) -> Mapping[str, float]:
        """Nothing: what starting kernels takes is measured with a whole engine."""
        return {}


def profile(models: Sequence[ModelSpec], seconds: float) -> CostStore:
    """The kernels of `models` in fp32, measured for so long."""
    operations = frozenset(AXES)
    order = Order(CORE, tuple(models), (1,), Setup(Dtype.FP32, Backend.CPU), operations)
    bench = ThreadBench()
    profiling = Profiling(bench, CORE, CostStore(), lambda _: None, "this CPU")
    grid = _regridded(order.grid(bench.version))
    return profiling.run(grid, Budget(seconds, time.monotonic), lambda _: None)


def source_of(store: CostStore) -> CostSource:
    """Costs from the profile; of what it has nothing like, from the roofline."""
    tables = TableSource(MeasuredTables(store), TablePreferences(sources=(OWN,)))
    return ChainedSource([tables, ElementwiseSource(store, OWN), RooflineSource()])


def _regridded(probes: Sequence[Probe]) -> list[Probe]:
    """The shapes of `probes` on `AXES` instead."""
    found: dict[Probe, None] = {}
    for probe in probes:
        axes = AXES[probe.key.operation]
        for values in product(*axes.values()):
            sizes = {**probe.sizes, **dict(zip(axes, values, strict=True))}
            point = tuple(sizes[name] for name in DIMENSIONS[probe.key.operation])
            found[replace(probe, point=point)] = None
    return list(found)


def _timed(calls: Sequence[Callable[[], object]]) -> Timing:
    calls[0]()
    seconds: list[float] = []
    start = time.thread_time()
    while len(seconds) < LEAST_CALLS or (
        len(seconds) < MOST_CALLS and time.thread_time() < start + CALLS_S
    ):
        call = calls[len(seconds) % len(calls)]
        began = time.thread_time_ns()
        call()
        seconds.append((time.thread_time_ns() - began) / 1e9)
    tenths = quantiles(seconds, n=10)
    mean = fmean(seconds)
    return Timing(mean, (tenths[-1] - tenths[0]) / 2 / mean)
