"""Requests that have come and that an engine scheduling ahead has not looked at yet."""

from __future__ import annotations

from collections import deque

from servecast.simulator.request import Request


class Unseen(deque[tuple[int, Request]]):
    """First in, first out, each behind the moment it came. Who holds them queues them in time.

    An engine that schedules a step while the one before computes decides at the start of that one:
    who comes later misses one step more than in an engine that schedules between steps.
    """

    __slots__ = ()

    def until(self, moment_ns: int) -> list[Request]:
        """Take out those that came at `moment_ns` or before."""
        seen: list[Request] = []
        while self and self[0][0] <= moment_ns:
            seen.append(self.popleft()[1])
        return seen
