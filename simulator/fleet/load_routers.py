"""Routers that look at how much the replicas have to do."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from servecast.simulator.fleet.draws import Draws
from servecast.simulator.fleet.least_loaded import LeastLoaded
from servecast.simulator.fleet.router import Clock, R, Replica
from servecast.simulator.request import Request


def _unless_full(replica: Replica) -> float:
    load = replica.outstanding
    return load if load < replica.places else inf


class CentralQueue:
    """One queue for all replicas: the least loaded one with a free place takes the head.

    A replica has a place while fewer requests are outstanding than it computes at once; ties go to
    the lowest number. With one place a replica this is the queue of M/M/c.
    """

    is_static = False

    def __init__(self) -> None:
        self._least = LeastLoaded(_unless_full)

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The least loaded replica, or None while all places are taken."""
        replica = self._least.of(replicas)
        has_place = replica is not None and replica.outstanding < replica.places
        return replica if has_place else None

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """A replica may have a place again."""
        self._least.ended(replica)


class LeastOutstanding:
    """The replica with the fewest requests underway or queued; ties go to the lowest number."""

    is_static = False

    def __init__(self) -> None:
        self._least = LeastLoaded()

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The least loaded replica; None where there is none."""
        return self._least.of(replicas)

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """A replica has less to do than before."""
        self._least.ended(replica)


class PowerOfTwoChoices:
    """The less loaded of two replicas drawn by chance (Mitzenmacher 2001)."""

    is_static = False

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The less loaded of two, ties go to the one drawn first; None where there is none."""
        if len(replicas) < 2:
            return replicas[0] if replicas else None
        one, two = self._draws.below(len(replicas)), self._draws.below(len(replicas) - 1)
        first, second = replicas[one], replicas[two + (two >= one)]
        return first if first.outstanding <= second.outstanding else second


class LeastKv:
    """The replica whose KV cache is the least full; ties go to the lowest number.

    It looks at every replica for every request. Who waits in a replica's queue holds nothing yet.
    """

    is_static = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica with the most room; None where there is none."""
        now_ns = self._clock()
        return min(
            replicas,
            key=lambda replica: (replica.kv_used(now_ns), replica.number),
            default=None,
        )
