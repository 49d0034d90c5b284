"""Replicas behind a router, and the clients in front of it, as simpy processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import simpy
from simpy.events import NORMAL, URGENT, EventPriority

from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.request import Request
from servecast.simulator.router import Router

Process = Generator[simpy.Event, Any, None]

RUNS_END, REQUESTS_ARRIVE, RUNS_START = URGENT, NORMAL, EventPriority(NORMAL + 1)
"""The order within one instant: who arrives sees what has finished, a step sees who arrived."""


class Alarm(simpy.Event):
    """Calls `callback` in `delay_ns`, at its place in the order within that instant."""

    def __init__(
        self,
        env: simpy.Environment,
        delay_ns: int,
        priority: EventPriority,
        callback: Callable[[simpy.Event], None],
    ) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.callbacks = [callback]
        env.schedule(self, priority, delay_ns)


class Cluster:
    """Engines that share a router and a clock (integer nanoseconds).

    Engines are lazy; simpy knows only the moments at which they touch something else. Behind a
    static router with an open loop that is never: the engines take their arrivals and run to the
    end on their own, and simpy's clock stands still. Engines that must be watched (`on_finish` is
    set, or the router looks at them) are woken at the end of each planned run. Within an instant
    runs end first, then clients and the router act, then the next runs are planned, so that one
    step sees all simultaneous arrivals.
    """

    def __init__(
        self,
        env: simpy.Environment,
        engines: Sequence[AnyEngine],
        router: Router,
        on_finish: Callable[[Request], None] | None = None,
    ) -> None:
        self.env = env
        self.engines = engines
        self.queue: deque[Request] = deque()
        """Requests that no replica has a place for."""
        self._router = router
        self._on_finish = on_finish
        self.is_watched = on_finish is not None or not router.is_static
        self._alarms = {id(engine): 0 for engine in engines}

    def submit(self, request: Request) -> None:
        """Hand in a request at its arrival time: now, if the engines are watched."""
        self.queue.append(request)
        if len(self.queue) == 1:
            self._dispatch(request.arrival_ns)

    def drain(self) -> None:
        """Run every engine until it is idle; for after the last event."""
        for engine in self.engines:
            engine.advance(None)
            engine.finished.clear()

    def _dispatch(self, now_ns: int) -> None:
        while self.queue:
            engine = self._router.route(self.engines, self.queue[0])
            if engine is None:
                return
            engine.advance(now_ns)
            engine.submit(self.queue.popleft(), now_ns)
            if self.is_watched:
                self._watch(engine)
            else:
                engine.finished.clear()

    def _watch(self, engine: AnyEngine) -> None:
        self._alarms[id(engine)] += 1
        alarm = self._alarms[id(engine)]

        def plan(_: simpy.Event) -> None:
            if alarm == self._alarms[id(engine)]:
                end_ns = engine.next_ns()
                if end_ns is not None:
                    Alarm(self.env, end_ns - int(self.env.now), RUNS_END, wake)

        def wake(_: simpy.Event) -> None:
            if alarm == self._alarms[id(engine)]:
                self._wake(engine)

        Alarm(self.env, 0, RUNS_START, plan)

    def _wake(self, engine: AnyEngine) -> None:
        engine.advance(int(self.env.now))
        self._watch(engine)
        if engine.finished:
            finished, engine.finished = engine.finished, []
            Alarm(self.env, 0, REQUESTS_ARRIVE, lambda _: self._settle(finished))

    def _settle(self, finished: list[Request]) -> None:
        if self._on_finish is not None:
            for request in finished:
                self._on_finish(request)
        self._dispatch(int(self.env.now))


def open_loop(cluster: Cluster, requests: Iterable[Request]) -> Process:
    """Clients that send each request at its arrival time, whatever happens."""
    now = int(cluster.env.now)
    for request in requests:
        if cluster.is_watched and request.arrival_ns > now:
            yield cluster.env.timeout(request.arrival_ns - now)
            now = request.arrival_ns
        cluster.submit(request)


class ClosedLoop:
    """Clients that each send their next request `think_ns` after their last one has finished."""

    def __init__(self, env: simpy.Environment, requests: Iterable[Request], think_ns: int) -> None:
        self._env = env
        self._requests = iter(requests)
        self._think_ns = think_ns
        self._cluster: Cluster | None = None

    def start(self, cluster: Cluster, concurrency: int) -> None:
        """Send the first requests, all at once."""
        self._cluster = cluster
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
        if request is not None and self._cluster is not None:
            request.arrival_ns = int(self._env.now)
            self._cluster.submit(request)
