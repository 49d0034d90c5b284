"""Four coefficients that fit a cost source to one user's own servers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.coefficients import shipped
from servecast.primitives.cost import CostSource
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.host_time import HostTime
from servecast.primitives.operations import (
    AllReduce,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    Quantity,
)
from servecast.primitives.scaled_source import ScaledSource


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a server differs from its cost source. The defaults change nothing."""

    bandwidth_factor: float = 1.0
    """On the time of work bound by bandwidth: most of a decode step, and all-reduces."""
    compute_factor: float = 1.0
    """On the time of work bound by FLOPs: most of a long prompt."""
    host_step_s: float = field(default_factory=lambda: shipped("roofline").vllm_step_s)
    """The engine's own loop, per step."""
    host_sequence_s: float = field(default_factory=lambda: shipped("roofline").sequence_s)
    """The engine's own loop, per sequence of a step."""

    @property
    def host(self) -> HostTime:
        """The host time that the simulator takes."""
        return HostTime(self.host_step_s, self.host_sequence_s)


class CalibratedSource(ScaledSource):
    """A cost source whose costs are another's times the factors of a calibration.

    An operation is weighed between the two by its own times at the device's peaks, so that a
    curve over tokens has no jump where it passes from one bound to the other.
    """

    def __init__(self, source: CostSource, calibration: Calibration) -> None:
        super().__init__(source)
        self._calibration = calibration

    def _factor(self, operation: Operation, device: Accelerator) -> Quantity:
        c, share = self._calibration, compute_share(operation, device)
        return c.bandwidth_factor + (c.compute_factor - c.bandwidth_factor) * share


def compute_share(operation: Operation, device: Accelerator) -> Quantity:
    """How far FLOPs and not bytes bound an operation at the device's peaks: 0 to 1."""
    if isinstance(operation, AllReduce | Collective | Send | ExpertExchange | Elementwise):
        return 0.0
    dtype = operation.dtype if isinstance(operation, Gemm | MoeExperts) else Dtype.BF16
    compute = operation.flops / device.peak_flops(dtype)
    memory = operation.bytes / device.bw_bytes_per_s
    return compute / np.maximum(compute + memory, 1e-30)
