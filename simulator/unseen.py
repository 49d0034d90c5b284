"""Requests that have come and that an engine scheduling ahead has not looked at yet."""

from __future__ import annotations

from collections import deque

from servecast.simulator.request import Request


class Unseen:
    """First in, first out, each with when it came. The engine that holds it queues them in time.

    An engine that schedules a step while the one before computes decides at the start of that one:
    who comes later misses one step more than in an engine that schedules between steps.
    """

    __slots__ = ("_requests",)

    def __init__(self) -> None:
        self._requests: deque[tuple[int, Request]] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def append(self, request: Request, now_ns: int) -> None:
        """Hold a request that came at `now_ns`, not before any other."""
        self._requests.append((now_ns, request))

    def until(self, moment_ns: int) -> list[Request]:
        """Take out those that came at `moment_ns` or before."""
        seen: list[Request] = []
        while self._requests and self._requests[0][0] <= moment_ns:
            seen.append(self._requests.popleft()[1])
        return seen
