"""Sources of cost one after the other: measured where it was measured, computed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, CostSource, Provenance
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity, SparseAttention


class ChainedSource:
    """The first of several sources that has an answer; the last one should have all of them.

    A source that has none says so with UnsupportedError, which the chain passes on only where it is
    the last one's. What consists of parts and has no answer as a whole is priced by its parts.
    """

    def __init__(self, sources: Sequence[CostSource]) -> None:
        """`sources`, best first: at least one."""
        *self._first, self._last = sources

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The best known cost of `operation`."""
        for source in self._first:
            try:
                return source.cost(operation, device)
            except UnsupportedError:
                continue
        if isinstance(operation, SparseAttention) and self._first:
            return _together([self.cost(part, device) for part in operation.parts])
        return self._last.cost(operation, device)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        for source in self._first:
            try:
                return source.seconds(operation, device)
            except UnsupportedError:
                continue
        if isinstance(operation, SparseAttention) and self._first:
            return sum((self.seconds(part, device) for part in operation.parts), 0.0)
        return self._last.seconds(operation, device)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """Of the first source that knows it."""
        asked = (source.mixed_ratio(attention, device) for source in (*self._first, self._last))
        return next((ratio for ratio in asked if ratio is not None), None)


def _together(costs: Sequence[Cost]) -> Cost:
    """The cost of operations one after the other: known as the least known of them is."""
    least = max(costs, key=lambda cost: list(Provenance).index(cost.provenance))
    seconds: Quantity = sum((cost.seconds for cost in costs), 0.0)
    return Cost(seconds, least.provenance, max(cost.relative_error for cost in costs))
