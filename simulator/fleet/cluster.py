"""Replicas behind a router, on one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import simpy

from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, RUNS_END, RUNS_START, Alarm
from servecast.simulator.fleet.router import Router
from servecast.simulator.request import Request


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
        self.engines = list(engines)
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
