"""Which replica takes a request: what a router is asked, and what it sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from servecast.simulator.request import Request

Clock = Callable[[], int]
"""The time in nanoseconds, for routers that look at what changes by itself."""


class Replica(Protocol):
    """What a router sees of an engine."""

    @property
    def number(self) -> int:
        """Its own, by which it is remembered: no other replica of the fleet ever has it."""
        ...

    @property
    def outstanding(self) -> int:
        """Requests that were sent to it and whose last token is not out yet."""
        ...

    @property
    def waiting(self) -> int:
        """Those of them that are in its queue and not computed yet, or again after preemption."""
        ...

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        ...

    def kv_used(self, now_ns: int) -> float:
        """Share of its KV blocks that requests hold now, from 0 to 1."""
        ...


R = TypeVar("R", bound=Replica)


class Router(Protocol):
    """Asked once when a request arrives, and again after each completion while it said None.

    Replicas come and go between two questions. Their sequence is another object then, and as long
    as it is the same one its members are.
    """

    is_static: bool
    """Whether the choice ignores what the replicas are doing, so that none needs watching."""

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica for `request`, or None: it waits in front of all of them."""
        ...


@runtime_checkable
class Informed(Protocol):
    """A router that keeps account of who has how much to do, instead of asking all every time."""

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """Told when last tokens come out of a replica, before anything is routed at that moment."""
        ...
