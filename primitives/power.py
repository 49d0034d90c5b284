"""What an accelerator draws, by how much of its roofline it uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator

EXPONENT = 0.7
"""Power rises steeply at first. The exponent is that of Özcan et al., Quantifying the Energy
Consumption and Carbon Emissions of LLM Inference via Simulations (2025), not fitted
here; docs/energy.md lays it beside the powers that Splitwise's authors measured of A100s."""


def is_power_known(device: Accelerator) -> bool:
    """Whether the catalogue has what `power_w` needs."""
    return device.tdp_w is not None and device.idle_w is not None


def power_w(device: Accelerator, utilisation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Watts of one device at shares of its roofline: idle + (TDP − idle) · utilisation^0.7.

    UnsupportedError where the catalogue does not have its powers.
    """
    if device.tdp_w is None or device.idle_w is None:
        missing = "idle" if device.idle_w is None else "greatest"
        raise UnsupportedError(
            f"the {missing} power of {device.name} is not known, so no energy is",
            hint="`servecast gpus --json` shows `idle_w` and `tdp_w` where they are",
        )
    share = np.clip(utilisation, 0.0, 1.0)
    return np.asarray(device.idle_w + (device.tdp_w - device.idle_w) * share**EXPONENT)
