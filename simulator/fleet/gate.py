"""Who is let in to a cluster, who waits in front of it, and who is turned away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import simpy

from servecast.primitives.routing_options import Gateway
from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, Alarm
from servecast.simulator.fleet.front import Front
from servecast.simulator.fleet.serve import OnFinish
from servecast.simulator.request import Request


class Gate:
    """A front before another one that has at most so many requests at once.

    Who comes beyond waits in line, first come first served, as long as there is room and time;
    others are turned away, which to a client is the request's end. It is told of every finish.
    """

    is_watched = True

    def __init__(self, env: simpy.Environment, gateway: Gateway) -> None:
        self.env = env
        self.turned_away: list[int] = []
        """Indices of the requests that were, in order of time."""
        self._gateway = gateway
        self._on_finish: OnFinish | None = None
        self._behind: Front | None = None
        self._inside = 0
        self._line: deque[Request] = deque()
        self._waits_ns = None if gateway.max_wait_s is None else round(gateway.max_wait_s * 1e9)

    def before(self, front: Callable[[OnFinish | None], Front], on_finish: OnFinish | None) -> Gate:
        """This gate, before what `front` makes.

        `on_finish` is called for each request that finishes or is turned away.
        """
        self._on_finish = on_finish
        self._behind = front(self.finished)
        return self

    def submit(self, request: Request) -> None:
        """Let a request in, or into the line, or turn it away."""
        if self._inside < self._gateway.max_outstanding:
            self._let_in(request)
        elif len(self._line) < self._gateway.max_queued:
            self._line.append(request)
            if self._waits_ns is not None:
                Alarm(self.env, self._waits_ns, REQUESTS_ARRIVE, lambda _: self._give_up(request))
        else:
            self._turn_away(request)

    def finished(self, request: Request) -> None:
        """A request has its last token: the next in line takes its place before its client acts."""
        self._inside -= 1
        if self._line:
            self._let_in(self._line.popleft())
        if self._on_finish is not None:
            self._on_finish(request)

    def drain(self) -> None:
        """Run what is behind until it is idle; for after the last event."""
        if self._behind is not None:
            self._behind.drain()

    def _let_in(self, request: Request) -> None:
        self._inside += 1
        if self._behind is not None:
            self._behind.submit(request)

    def _give_up(self, request: Request) -> None:
        if request in self._line:
            self._line.remove(request)
            self._turn_away(request)

    def _turn_away(self, request: Request) -> None:
        self.turned_away.append(request.index)
        over = self._on_finish
        if over is not None:
            Alarm(self.env, 0, REQUESTS_ARRIVE, lambda _: over(request))
