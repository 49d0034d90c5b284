"""A router whose news of the replicas is old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servecast.simulator.fleet.router import Clock, Informed, R, Replica, Router
from servecast.simulator.request import Request


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A replica as it was when it was looked at."""

    number: int
    outstanding: int
    waiting: int
    places: int
    used: float

    def kv_used(self, now_ns: int) -> float:
        """Share of its KV blocks that requests held then."""
        return self.used


class ScrapedRouter:
    """Shows another router what the replicas were doing, and not what they do.

    Time is cut into periods of `refresh_ns` from 0 on; the first request of a period has all
    replicas looked at, and what is seen holds for the rest of it. Which replicas there are is known
    at once: one that has just come is looked at as it comes.
    """

    is_static = False

    def __init__(self, router: Router, refresh_ns: int, clock: Clock) -> None:
        """A `refresh_ns` of 0 has all looked at for every request."""
        self._router = router
        self._informed = router if isinstance(router, Informed) else None
        self._refresh_ns = refresh_ns
        self._clock = clock
        self._period: int | None = None
        self._replicas: Sequence[Replica] | None = None
        self._place: dict[int, int] = {}
        self._seen: tuple[Snapshot, ...] = ()

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica that the other router takes by what it is shown."""
        now_ns = self._clock()
        period = now_ns // self._refresh_ns if self._refresh_ns else None
        if period is None or period != self._period:
            self._seen = tuple(_looked_at(replica, now_ns) for replica in replicas)
        elif replicas is not self._replicas:
            known = {snapshot.number: snapshot for snapshot in self._seen}
            self._seen = tuple(
                known.get(replica.number) or _looked_at(replica, now_ns) for replica in replicas
            )
        if replicas is not self._replicas:
            self._place = {replica.number: place for place, replica in enumerate(replicas)}
        self._period, self._replicas = period, replicas
        chosen = self._router.route(self._seen, request)
        return None if chosen is None else replicas[self._place[chosen.number]]

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """What a router keeps account of by itself is not old."""
        if self._informed is not None:
            self._informed.ended(replica, requests)


def _looked_at(replica: Replica, now_ns: int) -> Snapshot:
    return Snapshot(
        replica.number,
        replica.outstanding,
        replica.waiting,
        replica.places,
        replica.kv_used(now_ns),
    )
