"""Clients of sessions: each request waits for the one that it follows, and thinks."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import simpy

from servecast.simulator.admission import Admission
from servecast.simulator.fleet.alarm import REQUESTS_ARRIVE, Alarm
from servecast.simulator.fleet.front import Front
from servecast.simulator.request import Request
from servecast.traces.sessions import Sessions
from servecast.traces.workload import Workload


class SessionClients:
    """Sends a session's first request, and every other one after that which it follows.

    First requests come at their times of arrival. Or, in a closed loop, so many sessions are under
    way at once, and the next begins when one is over and its client has thought. A request that is
    rejected is over at once: the session goes on without it, as a client does that gets an error.
    """

    def __init__(
        self,
        env: simpy.Environment,
        admission: Admission,
        workload: Workload,
        sessions: Sessions,
    ) -> None:
        """`sessions` are the workload's."""
        self._env = env
        self._admission = admission
        self._workload = workload
        self._think_ns: list[int] = sessions.think_ns.tolist()
        self._followers = sessions.followers()
        self._first: list[int] = np.flatnonzero(sessions.is_first).tolist()
        self._session: list[int] = sessions.numbers().tolist()
        self._unfinished = Counter(self._session)
        self._to_begin: deque[int] = deque()
        self._front: Front | None = None

    def start(self, front: Front) -> None:
        """Send first requests when they arrive, or as many as the closed loop has at once."""
        self._front = front
        concurrency = self._workload.concurrency
        if concurrency is not None:
            self._to_begin.extend(self._first[concurrency:])
        for row in self._first[:concurrency]:
            self._send_in(int(self._workload.arrival_ns[row]), row)

    def finished(self, request: Request) -> None:
        """Called at each finish."""
        self._over(request.index)

    def _over(self, row: int) -> None:
        for follower in self._followers[row]:
            self._send_in(self._think_ns[follower], follower)
        session = self._session[row]
        self._unfinished[session] -= 1
        if not self._unfinished[session] and self._to_begin:
            self._send_in(self._workload.think_ns, self._to_begin.popleft())

    def _send_in(self, delay_ns: int, row: int) -> None:
        Alarm(self._env, delay_ns, REQUESTS_ARRIVE, lambda _: self._send(row))

    def _send(self, row: int) -> None:
        request = self._admission.request(row)
        if request is None:
            self._over(row)
        elif self._front is not None:
            request.arrival_ns = int(self._env.now)
            self._front.submit(request)
