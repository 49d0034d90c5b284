"""A device measured with PyTorch: CUDA in graphs with events, a CPU with the host's clock."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from types import ModuleType

from servecast.errors import InputError, UnsupportedError
from servecast.profiler.probe import COLLECTIVES, Probe, Timing
from servecast.profiler.torch_kernels import kernel_of
from servecast.profiler.torch_ranks import TorchRanks
from servecast.profiler.torch_tensors import Call, Tensors
from servecast.profiler.torch_timing import eager, in_graph, on_host

INSTALL = 'pip install "servecast[profile]"'
CACHE_BYTES = {"cpu": 2**27, "cuda": 2**28}
"""More than the last cache holds: weights come from memory in a step, and here too."""
GRAPH_S, GRAPH_CALLS = 3e-4, 32
"""A graph holds calls for so long, but not more than so many; one of each copy at the least."""
LONG_S = 1e-3
"""Calls from here on read so much that no copies are needed for them to find the caches cold."""
LAUNCHES = 200

REFUSALS = (RuntimeError, MemoryError, ImportError, AttributeError, TypeError)
"""How PyTorch says no; the last three where it is too old for a kernel or an argument of one."""


class TorchBench:
    """Times kernels of PyTorch on one device; profiling asks it for one probe after the other.

    Collectives run in processes of their own, which start with the first; `close` ends them.
    """

    def __init__(self, device: str, processes: int = 1, threads: int | None = None) -> None:
        """InputError where PyTorch is missing, or sees no such device, or not so many.

        `threads` is for a CPU; left out, PyTorch takes as many as it likes.
        """
        self._torch = _torch()
        self._device, self._processes = device, processes
        self._ranks: TorchRanks | None = None
        if device != "cuda":
            if threads is not None:
                self._torch.set_num_threads(threads)
            return
        if not self._torch.cuda.is_available():
            raise InputError(
                f"PyTorch {self._torch.__version__} sees no CUDA device",
                hint="run it where there is one, or measure this machine with --device cpu",
            )
        seen = int(self._torch.cuda.device_count())
        if processes > seen:
            raise InputError(
                f"{processes} processes take a device each, and PyTorch sees {seen}",
                hint=f"measure with --processes {seen} at most",
            )

    @property
    def version(self) -> str:
        """PyTorch's, with its build."""
        return f"torch {self._torch.__version__}"

    def time(self, probe: Probe) -> Timing:
        """The time of the probe's kernel; UnsupportedError where it does not run here."""
        if probe.key.operation in COLLECTIVES:
            self._ranks = self._ranks or TorchRanks(self._device, self._processes)
            return self._ranks.time(probe)
        if self._device == "cuda":
            self._torch.cuda.empty_cache()  # what the last probe left would not count as free
        tensors = Tensors(self._torch, self._device, probe.key.dtype, self._free_bytes())
        try:
            with self._torch.inference_mode():
                calls = tensors.calls(kernel_of(probe), CACHE_BYTES[self._device])
                return self._on_cuda(calls) if self._device == "cuda" else self._on_host(calls)
        except REFUSALS as error:
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
                together = self._on_host([lambda: [call() for call in calls]])
                return {"call": together.seconds / LAUNCHES}
            return {
                "eager": eager(self._torch, calls).seconds,
                "in a graph": in_graph(self._torch, calls).seconds,
            }

    def close(self) -> None:
        """End the processes of the collectives, if any started."""
        if self._ranks is not None:
            self._ranks.close()
            self._ranks = None

    def _on_host(self, calls: Sequence[Call]) -> Timing:
        return on_host(calls, is_alone=self._torch.get_num_threads() == 1)

    def _on_cuda(self, calls: Sequence[Call]) -> Timing:
        first_s = eager(self._torch, calls[:1]).seconds
        copies = len(calls) if first_s < LONG_S else 1
        count = min(max(int(GRAPH_S / first_s), copies, 1), GRAPH_CALLS)
        turns = [calls[place % len(calls)] for place in range(count)]
        outside, graph = eager(self._torch, turns), in_graph(self._torch, turns)
        return Timing(graph.seconds, graph.spread, outside)

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
