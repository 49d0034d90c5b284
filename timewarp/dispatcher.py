"""Clients and a router in front of several emulated engines on one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from servecast.simulator.fleet.router import Informed, Router
from servecast.simulator.request import Request
from servecast.timewarp.arrivals import Arrivals
from servecast.timewarp.shared_clock import SharedClock


class Gauges(Protocol):
    """What an emulated engine says of itself, as it would by its metrics."""

    @property
    def waiting(self) -> int:
        """Requests in its queue."""
        ...

    @property
    def kv_used(self) -> float:
        """Share of its KV blocks that requests hold."""
        ...


class Dispatcher:
    """Asks the simulator's own router which engine gets a request; the others wait in line.

    Requests are dealt out only once everything has ended that ends at their instant, as in the
    simulator: who arrives sees what has finished, and a step sees who arrived.
    """

    def __init__(
        self, clock: SharedClock, clients: Arrivals, router: Router, replicas: int, places: int
    ) -> None:
        """Each of the `replicas` computes up to `places` requests at once."""
        self.clock = clock
        clock.landed = self._catch_up
        self.lanes = [Lane(self, number, places) for number in range(replicas)]
        self._clients = clients
        self._router = router
        self._informed = router if isinstance(router, Informed) else None
        self._queue: deque[Request] = deque()

    @property
    def is_over(self) -> bool:
        """Whether nobody is to come any more."""
        is_awaited = self._queue or any(lane.outstanding for lane in self.lanes)
        return not is_awaited and self.next_ns() is None

    def next_ns(self) -> int | None:
        """When the next client sends, as far as is known now."""
        return self._clients.next_ns()

    def deal_out(self, now_ns: int) -> None:
        """Send everybody who has come by `now_ns` on, as long as the router finds a replica."""
        self._queue.extend(self._clients.due(now_ns))
        while self._queue:
            lane = self._router.route(self.lanes, self._queue[0])
            if lane is None:
                return
            lane.take(self._queue.popleft())

    def _catch_up(self, now_ns: int) -> None:
        """Send on who came before `now_ns`, while every engine is as it was then."""
        self.deal_out(now_ns - 1)

    def finished(self, lane: Lane, requests: int, now_ns: int) -> None:
        """So many requests of a replica have their last token."""
        if requests:
            lane.outstanding -= requests
            if self._informed is not None:
                self._informed.ended(lane, ())
            self._clients.finished(requests, now_ns)
            for other in self.lanes:  # who is idle has somebody to wait for
                self.clock.wake(other.number, now_ns)


class Lane:
    """What one engine sees of the dispatcher: its own arrivals."""

    def __init__(self, dispatcher: Dispatcher, number: int, places: int) -> None:
        self.number = number
        self.places = places
        self.outstanding = 0
        """Requests that were sent here and whose last token is not out yet."""
        self.gauges: Gauges | None = None
        """Of the engine, once it has started."""
        self._dispatcher = dispatcher
        self._taken: list[Request] = []

    @property
    def waiting(self) -> int:
        """Requests that were sent here and are not computed yet."""
        return len(self._taken) + (self.gauges.waiting if self.gauges else 0)

    def kv_used(self, now_ns: int) -> float:
        """Share of the engine's KV blocks that requests hold now."""
        return self.gauges.kv_used if self.gauges else 0.0

    def take(self, request: Request) -> None:
        """The router has chosen this one."""
        self.outstanding += 1
        self._taken.append(request)
        self._dispatcher.clock.wake(self.number, self._dispatcher.clock.now_ns())

    def due(self, now_ns: int) -> list[Request]:
        """Take the requests that were sent here by `now_ns`, when all has ended that ends then."""
        self._dispatcher.clock.rest()
        self._dispatcher.deal_out(now_ns)
        taken, self._taken = self._taken, []
        return taken

    def next_ns(self) -> int | None:
        """When the next client sends, to whichever replica."""
        return self._dispatcher.next_ns()

    def coming(self, until_ns: int) -> Iterator[int]:
        """Nobody, as far as is known now: a router decides when they are there."""
        return iter(())

    def finished(self, requests: int, now_ns: int) -> None:
        """So many requests of this replica have their last token."""
        self._dispatcher.finished(self, requests, now_ns)
