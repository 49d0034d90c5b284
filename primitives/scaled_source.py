"""Cost sources whose costs are another's, each operation's times a factor."""

from __future__ import annotations

from abc import ABC, abstractmethod

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, CostSource
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity


class ScaledSource(ABC):
    """Another source's costs and what it says of them; subclasses know the factors."""

    def __init__(self, source: CostSource) -> None:
        self._source = source

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The other source's cost times the operation's factor."""
        cost = self._source.cost(operation, device)
        factor = self._factor(operation, device)
        return Cost(cost.seconds * factor, cost.provenance, cost.relative_error)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        return self._source.seconds(operation, device) * self._factor(operation, device)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """The other source's: factors on both sides of a ratio cancel out."""
        return self._source.mixed_ratio(attention, device)

    @abstractmethod
    def _factor(self, operation: Operation, device: Accelerator) -> Quantity:
        """What an operation's seconds are multiplied by."""
