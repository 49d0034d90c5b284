"""What clients see of whatever serves them."""

from __future__ import annotations

from typing import Protocol

import simpy

from servecast.simulator.request import Request


class Front(Protocol):
    """Somewhere to send requests: one cluster, or several that share the work."""

    env: simpy.Environment

    @property
    def is_watched(self) -> bool:
        """Whether requests must be handed in at the moment they arrive, and not before."""
        ...

    def submit(self, request: Request) -> None:
        """Hand in a request at its arrival time."""
        ...

    def drain(self) -> None:
        """Run everything until it is idle; for after the last event."""
        ...
