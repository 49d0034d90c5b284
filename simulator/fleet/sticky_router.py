"""A router that keeps sessions where they began."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.fleet.least_loaded import LeastLoaded
from servecast.simulator.fleet.router import R, Replica
from servecast.simulator.request import Request


class StickySessions:
    """The replica that had the session's last request; a session begins at the least outstanding.

    So does one whose replica is gone, and each request that belongs to no session.
    """

    is_static = False

    def __init__(self) -> None:
        self._least = LeastLoaded()
        self._number: dict[int, int] = {}
        """The replica of each session, by its number."""
        self._replicas: Sequence[Replica] | None = None
        self._place: dict[int, int] = {}

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The session's replica, or the least loaded one; None where there is none."""
        if replicas is not self._replicas:
            self._replicas = replicas
            self._place = {replica.number: place for place, replica in enumerate(replicas)}
        session = request.session
        place = None if session is None else self._place.get(self._number.get(session, -1))
        if place is not None:
            return replicas[place]
        replica = self._least.of(replicas)
        if replica is not None and session is not None:
            self._number[session] = replica.number
        return replica

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """A replica has less to do than before."""
        self._least.ended(replica)
