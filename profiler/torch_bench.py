"""A device measured with PyTorch: CUDA in graphs with events, a CPU with the host's clock."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import ModuleType

import numpy as np

from servecast.errors import InputError, UnsupportedError
from servecast.profiler.probe import Probe, Timing
from servecast.profiler.torch_kernels import Call, Tensors, kernel_of

INSTALL = 'pip install "servecast[profile]"'
CACHE_BYTES = {"cpu": 2**27, "cuda": 2**28}
"""More than the last cache holds: weights come from memory in a step, and here too."""
LEAST_REPEATS, MOST_REPEATS = 3, 40
REPEATS_S = 0.15
"""Repeats go on until they took this long, within their limits."""
GRAPH_S, GRAPH_CALLS = 3e-4, 32
"""A graph holds calls for so long, but not more than so many; one of each copy at the least."""
LONG_S = 1e-3
"""Calls from here on read so much that no copies are needed for them to find the caches cold."""
LAUNCHES = 200


class TorchBench:
    """Times kernels of PyTorch on one device; profiling asks it for one probe after the other."""

    def __init__(self, device: str) -> None:
        """InputError where PyTorch is missing, or sees no such device."""
        self._torch = _torch()
        self._device = device
        if device == "cuda" and not self._torch.cuda.is_available():
            raise InputError(
                f"PyTorch {self._torch.__version__} sees no CUDA device",
                hint="run it where there is one, or measure this machine with --device cpu",
            )

    @property
    def version(self) -> str:
        """PyTorch's, with its build."""
        return f"torch {self._torch.__version__}"

    def time(self, probe: Probe) -> Timing:
        """The time of the probe's kernel; UnsupportedError where it does not run here."""
        if self._device == "cuda":
            self._torch.cuda.empty_cache()  # what the last probe left would not count as free
        tensors = Tensors(self._torch, self._device, probe.key.dtype, self._free_bytes())
        try:
            with self._torch.inference_mode():
                calls = tensors.calls(kernel_of(probe), CACHE_BYTES[self._device])
                return self._on_cuda(calls) if self._device == "cuda" else _on_host(calls)
        except (RuntimeError, MemoryError) as error:  # PyTorch's own, out of memory among them
            reason = str(error).strip().partition("\n")[0][:120] or type(error).__name__
            raise UnsupportedError(f"PyTorch refuses it: {reason}") from error

    def launch_s(self) -> Mapping[str, float]:
        """Seconds that adding 1 to one number takes, by way of starting it."""
        one = self._torch.zeros(1, device=self._device)

        def add() -> object:
            return self._torch.add(one, 1.0, out=one)

        calls: list[Call] = [add] * LAUNCHES
        with self._torch.inference_mode():
            if self._device == "cpu":
                return {"call": _on_host([lambda: [call() for call in calls]]).seconds / LAUNCHES}
            return {
                "eager": self._eager(calls).seconds,
                "in a graph": self._graph(calls).seconds,
            }

    def _on_cuda(self, calls: Sequence[Call]) -> Timing:
        first_s = self._eager(calls[:1]).seconds
        copies = len(calls) if first_s < LONG_S else 1
        count = min(max(int(GRAPH_S / first_s), copies, 1), GRAPH_CALLS)
        turns = [calls[place % len(calls)] for place in range(count)]
        eager, graph = self._eager(turns), self._graph(turns)
        return Timing(graph.seconds, graph.spread, eager)

    def _eager(self, calls: Sequence[Call]) -> Timing:
        """Time of a call as the device sees it where the host starts every kernel."""

        def run() -> None:
            for call in calls:
                call()

        run()
        return self._events(run, len(calls))

    def _graph(self, calls: Sequence[Call]) -> Timing:
        """Time of a call in a graph of them, after they ran outside of one."""
        cuda = self._torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            calls[0]()
        cuda.current_stream().wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            for call in calls:
                call()
        graph.replay()
        return self._events(graph.replay, len(calls))

    def _events(self, run: Callable[[], object], calls: int) -> Timing:
        cuda = self._torch.cuda
        cuda.synchronize()

        def once() -> float:
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) * 1e-3 / calls

        return _repeated(once)

    def _free_bytes(self) -> int:
        if self._device == "cuda":
            return int(self._torch.cuda.mem_get_info()[0])
        known = os.sysconf_names  # macOS tells only how much there is in all
        name = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in known else "SC_PHYS_PAGES"
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _torch() -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise InputError(
            "measuring takes PyTorch, which is not installed",
            hint=f"{INSTALL}, or see with --dry-run what would be measured",
        ) from error


def _on_host(calls: Sequence[Call]) -> Timing:
    """Time of a call by the host's clock; the calls take turns."""
    calls[0]()
    turn = 0

    def once() -> float:
        nonlocal turn
        call = calls[turn % len(calls)]
        turn += 1
        start = perf_counter()
        call()
        return perf_counter() - start

    return _repeated(once)


def _repeated(once: Callable[[], float]) -> Timing:
    """The median of repeats, and half of what the middle 80 % of them span, relative to it."""
    seconds: list[float] = []
    began = perf_counter()
    while len(seconds) < LEAST_REPEATS or (
        len(seconds) < MOST_REPEATS and perf_counter() < began + REPEATS_S
    ):
        seconds.append(once())
    low, middle, high = np.quantile(seconds, (0.1, 0.5, 0.9)).tolist()
    return Timing(middle, (high - low) / 2 / middle)
