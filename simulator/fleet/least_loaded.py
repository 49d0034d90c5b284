"""The least loaded of many replicas, found without looking at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush, heapreplace

from servecast.simulator.fleet.router import R, Replica

Load = Callable[[Replica], float]
"""What is compared; it falls only when requests end."""


def outstanding(replica: Replica) -> float:
    """Requests underway or queued."""
    return replica.outstanding


class LeastLoaded:
    """A heap of what each replica had to do when it was looked at last.

    Nobody has less to do than the heap says: `ended` says when somebody has less than before, and
    who has more is found out when its turn comes. Ties go to the lowest number.
    """

    def __init__(self, load: Load = outstanding) -> None:
        self._load = load
        self._replicas: Sequence[Replica] | None = None
        self._place: dict[int, int] = {}
        """Where each is in their sequence, by its number."""
        self._known: dict[int, float] = {}
        """By number, the load of its entry; entries of another load are out of date."""
        self._heap: list[tuple[float, int]] = []

    def of(self, replicas: Sequence[R]) -> R | None:
        """The least loaded of `replicas`; None where there is none."""
        if replicas is not self._replicas:
            self._look_at_all(replicas)
        heap, known = self._heap, self._known
        while heap:
            load, number = heap[0]
            if known[number] != load:
                heappop(heap)
                continue
            replica = replicas[self._place[number]]
            current = self._load(replica)
            if current == load:
                return replica
            known[number] = current
            heapreplace(heap, (current, number))
        return None

    def ended(self, replica: Replica) -> None:
        """A replica may have less to do than before."""
        place = self._place.get(replica.number)
        if place is None or self._replicas is None:
            return
        load = self._load(self._replicas[place])
        if load < self._known[replica.number]:
            self._known[replica.number] = load
            heappush(self._heap, (load, replica.number))

    def _look_at_all(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._place = {replica.number: place for place, replica in enumerate(replicas)}
        self._known = {replica.number: self._load(replica) for replica in replicas}
        self._heap = [(load, number) for number, load in self._known.items()]
        heapify(self._heap)
