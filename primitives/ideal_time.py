"""What an operation would take at the peaks of the device's data sheet."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.operations import Operation
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource

_PEAKS = RooflineSource(
    RooflineCoefficients(
        **{each.name: float(not each.name.endswith("_s")) for each in fields(RooflineCoefficients)}
    )
)
"""Every share of a peak 1, every overhead 0."""


def ideal_s(operation: Operation, device: Accelerator) -> NDArray[np.float64]:
    """Seconds at the device's peaks: max(FLOPs / peak, bytes / bandwidth)."""
    return np.asarray(_PEAKS.cost(operation, device).seconds, dtype=np.float64)
