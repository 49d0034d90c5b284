"""A device that takes no time to measure: its kernels cost what a formula says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.dtype import Dtype
from servecast.profiler.measuring import Order
from servecast.profiler.probe import Probe, Timing
from servecast.profiler.probe_setup import Setup

H200 = accelerator("h200_sxm")
QWEN = model("Qwen/Qwen3-0.6B")
BF16 = Setup(Dtype.BF16)


def order(*models: str, tensor_parallel_size: int = 1, setup: Setup = BF16) -> Order:
    """What measuring these models on an H200 asks for; the small Qwen where none is named."""
    specs = tuple(model(name) for name in models) or (QWEN,)
    return Order(H200, specs, (tensor_parallel_size,), setup)


def affine(probe: Probe) -> float:
    """A launch, and then a rate: what interpolation is exact on."""
    sizes = probe.sizes
    if probe.key.operation == "gemm":
        return 5e-6 + 1e-9 * sizes["m"]
    return 5e-6


def stepped(probe: Probe) -> float:
    """Products that jump at 300 rows; the rest is flat."""
    jump = 20e-6 if probe.key.operation == "gemm" and probe.sizes["m"] > 300 else 0.0
    return 5e-6 + jump


@dataclass
class FakeBench:
    """Answers at once and counts: every probe takes the fake clock a second."""

    law: Callable[[Probe], float] = affine
    version: str = "fake 1.0"
    has_graphs: bool = False
    lacks: Callable[[Probe], bool] = lambda probe: False
    breaks_at: int | None = None
    """The probe at which the user presses Ctrl-C."""
    asked: list[Probe] = field(default_factory=list[Probe])

    def time(self, probe: Probe) -> Timing:
        """By the law; outside graphs three launches more."""
        if self.breaks_at is not None and len(self.asked) == self.breaks_at:
            raise KeyboardInterrupt
        self.asked.append(probe)
        if self.lacks(probe):
            raise UnsupportedError("has no such kernel")
        seconds = self.law(probe)
        eager = Timing(seconds + 15e-6, 0.1) if self.has_graphs else None
        return Timing(seconds, 0.01, eager)

    def launch_s(self) -> Mapping[str, float]:
        """One figure."""
        return {"eager": 5e-6}

    def clock(self) -> float:
        """Seconds since the first probe."""
        return float(len(self.asked))
