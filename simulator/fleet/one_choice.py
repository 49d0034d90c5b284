"""A router that keeps to what it said."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.fleet.router import Informed, R, Replica, Router
from servecast.simulator.request import Request


class OneChoice:
    """Asks another router once for each request, and remembers until it is told to forget."""

    def __init__(self, router: Router) -> None:
        self.is_static = router.is_static
        self._router = router
        self._informed = router if isinstance(router, Informed) else None
        self._chosen: dict[int, int] = {}
        """The number of the replica, by the request's index."""

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica for `request`, the same each time, or None: it waits."""
        number = self._chosen.get(request.index)
        if number is not None:
            return next(replica for replica in replicas if replica.number == number)
        replica = self._router.route(replicas, request)
        if replica is not None:
            self._chosen[request.index] = replica.number
        return replica

    def forget(self, index: int) -> int:
        """The number of the replica that a request was sent to, which is remembered no longer."""
        return self._chosen.pop(index)

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """Hand on to a router that keeps account whose last tokens came out."""
        if self._informed is not None:
            self._informed.ended(replica, requests)
