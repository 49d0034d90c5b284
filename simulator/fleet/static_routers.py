"""Routers that look at nothing."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.fleet.draws import Draws
from servecast.simulator.fleet.router import R
from servecast.simulator.request import Request


class RoundRobin:
    """Each replica in turn, whatever it is doing."""

    is_static = True

    def __init__(self) -> None:
        self._next = 0

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The next replica; None where there is none."""
        if not replicas:
            return None
        place = self._next % len(replicas)
        self._next = place + 1
        return replicas[place]


class RandomChoice:
    """Any replica, each with the same chance."""

    is_static = True

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """A replica drawn anew for each request; None where there is none."""
        return replicas[self._draws.below(len(replicas))] if replicas else None
