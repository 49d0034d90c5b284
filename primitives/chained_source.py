"""Sources of cost one after the other: measured where it was measured, computed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, CostSource
from servecast.primitives.operations import Operation


class ChainedSource:
    """The first of several sources that has an answer; the last one should have all of them.

    A source that has none says so with UnsupportedError, which the chain passes on only where it is
    the last one's.
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
        return self._last.cost(operation, device)
