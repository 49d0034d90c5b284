"""What an operation costs, and where that number came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity


class Provenance(StrEnum):
    """How a cost is known, best first."""

    MEASURED = "measured"
    INTERPOLATED = "interpolated"
    EXTRAPOLATED = "extrapolated"
    ROOFLINE = "roofline"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one operation (an array where the operation is a curve), with its origin."""

    seconds: Quantity
    provenance: Provenance
    relative_error: float
    """Half-width of the band around `seconds`, as a share of it."""


class CostSource(Protocol):
    """Prices operations on a device. Sources chain: the best provenance that can answer wins."""

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The cost of one run of `operation`, without the engine's host time."""
        ...

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone: compiling steps asks for them again and again."""
        ...

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """How much longer one call for prompts beside decodes takes than both; None: not known."""
        ...
