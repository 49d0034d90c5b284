"""Replicas without an engine, for routers to look at."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.simulator.request import Request

BLOCK = 16


@dataclass(slots=True)
class Fake:
    """A replica that is as it is told to be."""

    number: int
    outstanding: int = 0
    waiting: int = 0
    places: int = 4
    used: float = 0.0

    def kv_used(self, now_ns: int) -> float:
        """The share that it was given."""
        return self.used


def asks(
    index: int, *extents: tuple[int, int], own: int = 0, session: int | None = None
) -> Request:
    """A request whose prompt is these blocks, and as many of its own."""
    tokens = (sum(length for _, length in extents) + own) * BLOCK
    request = Request(index, 0, tokens or 1, 10, 10, extents)
    request.session = session
    return request


def fakes(count: int) -> tuple[Fake, ...]:
    """So many idle replicas."""
    return tuple(Fake(number) for number in range(count))
