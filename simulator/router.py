"""Which replica takes a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from servecast.simulator.engine import Engine
from servecast.simulator.request import Request


class Router(Protocol):
    """Asked once when a request arrives, and again after each completion while it said None."""

    is_static: bool
    """Whether the choice ignores what the replicas are doing, so that none needs watching."""

    def route(self, engines: Sequence[Engine], request: Request) -> Engine | None:
        """The replica for `request`, or None: it waits in front of all of them."""
        ...


class RoundRobin:
    """Each replica in turn, whatever it is doing."""

    is_static = True

    def __init__(self) -> None:
        self._next = 0

    def route(self, engines: Sequence[Engine], request: Request) -> Engine | None:
        """The next replica."""
        engine = engines[self._next]
        self._next = (self._next + 1) % len(engines)
        return engine


class CentralQueue:
    """One queue for all replicas: the least loaded one with a free place takes the head.

    A replica has a place while it holds fewer requests than `max_num_seqs`; ties go to the lowest
    number. With one place a replica this is the queue of M/M/c.
    """

    is_static = False

    def route(self, engines: Sequence[Engine], request: Request) -> Engine | None:
        """The least loaded replica, or None while all places are taken."""
        engine = min(engines, key=lambda engine: engine.unfinished)
        return engine if engine.unfinished < engine.scheduler.limits.max_num_seqs else None


ROUTERS: dict[str, type[RoundRobin] | type[CentralQueue]] = {
    "round_robin": RoundRobin,
    "central_queue": CentralQueue,
}
