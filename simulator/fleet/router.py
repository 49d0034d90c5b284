"""Which replica takes a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from servecast.simulator.request import Request


class Replica(Protocol):
    """What a router sees of an engine."""

    @property
    def outstanding(self) -> int:
        """Requests that were sent to it and whose last token is not out yet."""
        ...

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        ...


R = TypeVar("R", bound=Replica)


class Router(Protocol):
    """Asked once when a request arrives, and again after each completion while it said None."""

    is_static: bool
    """Whether the choice ignores what the replicas are doing, so that none needs watching."""

    def route(self, engines: Sequence[R], request: Request) -> R | None:
        """The replica for `request`, or None: it waits in front of all of them."""
        ...


class RoundRobin:
    """Each replica in turn, whatever it is doing."""

    is_static = True

    def __init__(self) -> None:
        self._next = 0

    def route(self, engines: Sequence[R], request: Request) -> R | None:
        """The next replica."""
        engine = engines[self._next]
        self._next = (self._next + 1) % len(engines)
        return engine


class CentralQueue:
    """One queue for all replicas: the least loaded one with a free place takes the head.

    A replica has a place while fewer requests are outstanding than it computes at once; ties go to
    the lowest number. With one place a replica this is the queue of M/M/c.
    """

    is_static = False

    def route(self, engines: Sequence[R], request: Request) -> R | None:
        """The least loaded replica, or None while all places are taken."""
        engine = min(engines, key=lambda engine: engine.outstanding)
        return engine if engine.outstanding < engine.places else None


ROUTERS: dict[str, type[RoundRobin] | type[CentralQueue]] = {
    "round_robin": RoundRobin,
    "central_queue": CentralQueue,
}
