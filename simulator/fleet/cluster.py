"""Replicas behind a router, on one clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import simpy

from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, RUNS_END, RUNS_START, Alarm
from servecast.simulator.fleet.router import Informed, Router
from servecast.simulator.request import Request


class Cluster:
    """Engines that share a router and a clock (integer nanoseconds).

    Engines are lazy; simpy knows only the moments at which they touch something else. Behind a
    static router with an open loop that is never: the engines take their arrivals and run to the
    end on their own, and simpy's clock stands still. Engines that must be watched (`on_finish` is
    set, the router looks at them, or they come and go) are woken at the end of each planned run.
    Within an instant runs end first, then clients and the router act, then the next runs are
    planned, so that one step sees all simultaneous arrivals.
    """

    def __init__(
        self,
        env: simpy.Environment,
        engines: Sequence[AnyEngine],
        router: Router,
        on_finish: Callable[[Request], None] | None = None,
        *,
        changes: bool = False,
    ) -> None:
        """`changes`: engines will join, leave or fail, so each one's requests are kept in mind."""
        self.env = env
        self.engines: Sequence[AnyEngine] = tuple(engines)
        """Those that take requests; another sequence once one has come or gone."""
        self.queue: deque[Request] = deque()
        """Requests that no replica has a place for."""
        self._router = router
        self._informed = router if isinstance(router, Informed) else None
        self._on_finish = on_finish
        self.is_watched = changes or on_finish is not None or not router.is_static
        self._alarms = {id(engine): 0 for engine in engines}
        self._held: dict[int, dict[int, Request]] | None = None
        if changes:
            self._held = {id(engine): {} for engine in engines}

    def submit(self, request: Request) -> None:
        """Hand in a request at its arrival time: now, if the engines are watched."""
        self.queue.append(request)
        if len(self.queue) == 1:
            self._dispatch(int(self.env.now) if self.is_watched else request.arrival_ns)

    def notify(self, engine: AnyEngine, news: Callable[[int], None]) -> None:
        """Tell a watched engine something, at this moment, that may change what it does next."""
        now_ns = int(self.env.now)
        engine.advance(now_ns)
        news(now_ns)
        self._watch(engine)

    def drain(self) -> None:
        """Run every engine until it is idle; for after the last event."""
        for engine in self.engines:
            engine.advance(None)
            engine.finished.clear()

    def join(self, engine: AnyEngine) -> None:
        """It takes requests from now on; none may have come before with its number."""
        self.engines = (*self.engines, engine)
        self._alarms[id(engine)] = 0
        if self._held is not None:
            self._held[id(engine)] = {}
        self._dispatch(int(self.env.now))

    def leave(self, engine: AnyEngine) -> None:
        """It takes no more requests, and serves those that it has to their end."""
        self.engines = tuple(each for each in self.engines if each is not engine)

    def fail(self, engine: AnyEngine) -> int:
        """It is gone, and what it computed of unfinished requests with it.

        Those are sent again from their start, in the order of the workload; says how many.
        """
        now_ns = int(self.env.now)
        engine.advance(now_ns)
        self._alarms[id(engine)] += 1  # nobody wakes it any more
        self.leave(engine)
        self._hand_back(engine)
        held = self._held.pop(id(engine)) if self._held is not None else {}
        lost = sorted(held.values(), key=lambda each: each.index)
        self._told(engine, lost)
        self.queue.extend(request.anew() for request in lost)
        self._dispatch(now_ns)
        return len(lost)

    def _dispatch(self, now_ns: int) -> None:
        while self.queue and self.engines:
            engine = self._router.route(self.engines, self.queue[0])
            if engine is None:
                return
            engine.advance(now_ns)
            request = self.queue.popleft()
            engine.submit(request, now_ns)
            if self._held is not None:
                self._held[id(engine)][request.index] = request
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
        self._hand_back(engine)

    def _hand_back(self, engine: AnyEngine) -> None:
        if engine.finished:
            finished, engine.finished = engine.finished, []
            if self._held is not None:
                for request in finished:
                    del self._held[id(engine)][request.index]
            self._told(engine, finished)
            Alarm(self.env, 0, REQUESTS_ARRIVE, lambda _: self._settle(finished))

    def _told(self, engine: AnyEngine, ended: Sequence[Request]) -> None:
        if self._informed is not None:
            self._informed.ended(engine, ended)

    def _settle(self, finished: list[Request]) -> None:
        if self._on_finish is not None:
            for request in finished:
                self._on_finish(request)
        self._dispatch(int(self.env.now))
