"""Clients in front of whatever serves them, as simpy processes."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import simpy

from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, Alarm
from servecast.simulator.fleet.front import Front
from servecast.simulator.request import Request

Process = Generator[simpy.Event, Any, None]


def open_loop(front: Front, requests: Iterable[Request]) -> Process:
    """Clients that send each request at its arrival time, whatever happens."""
    now = int(front.env.now)
    for request in requests:
        if front.is_watched and request.arrival_ns > now:
            yield front.env.timeout(request.arrival_ns - now)
            now = request.arrival_ns
        front.submit(request)


class ClosedLoop:
    """Clients that each send their next request `think_ns` after their last one has finished."""

    def __init__(self, env: simpy.Environment, requests: Iterable[Request], think_ns: int) -> None:
        self._env = env
        self._requests = iter(requests)
        self._think_ns = think_ns
        self._front: Front | None = None

    def start(self, front: Front, concurrency: int) -> None:
        """Send the first requests, all at once."""
        self._front = front
        for _ in range(concurrency):
            self._send()

    def next_request(self, _: Request) -> None:
        """Called at each finish: the client thinks, then sends."""
        if self._think_ns:
            Alarm(self._env, self._think_ns, REQUESTS_ARRIVE, lambda _: self._send())
        else:
            self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is not None and self._front is not None:
            request.arrival_ns = int(self._env.now)
            self._front.submit(request)
