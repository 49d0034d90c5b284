"""Waiting requests in the order in which a scheduler looks at them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Protocol

from servecast.simulator.stepped_request import SteppedRequest


class RequestQueue(Protocol):
    """A queue of waiting requests; its verbs are vLLM's own."""

    def __len__(self) -> int: ...

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request that has just come."""
        ...

    def peek_request(self) -> SteppedRequest:
        """The one to look at next."""
        ...

    def pop_request(self) -> SteppedRequest:
        """Take that one out."""
        ...

    def prepend_request(self, request: SteppedRequest) -> None:
        """Queue a request that was running, as far ahead as the order lets it."""
        ...

    def prepend_requests(self, requests: Iterable[SteppedRequest]) -> None:
        """The same for each of them, one after the other."""
        ...

    def remove_request(self, request: SteppedRequest) -> None:
        """Take out a request wherever it stands."""
        ...


class FcfsRequestQueue(deque[SteppedRequest]):
    """First come, first served; who was preempted goes first."""

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request behind all others."""
        self.append(request)

    def peek_request(self) -> SteppedRequest:
        """The first in line."""
        return self[0]

    def pop_request(self) -> SteppedRequest:
        """Take the first out."""
        return self.popleft()

    def prepend_request(self, request: SteppedRequest) -> None:
        """Queue a request in front of all others."""
        self.appendleft(request)

    def prepend_requests(self, requests: Iterable[SteppedRequest]) -> None:
        """Queue each in front of the one before it."""
        self.extendleft(requests)

    def remove_request(self, request: SteppedRequest) -> None:
        """Take out a request wherever it stands."""
        self.remove(request)


class PriorityRequestQueue:
    """The smallest `priority` first, of equal ones the first that came, wherever it was since."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, SteppedRequest]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request at the place that its priority gives it."""
        arrived = request.request
        entry = (arrived.priority, arrived.arrival_ns, arrived.index, request)
        heappush(self._heap, entry)

    def peek_request(self) -> SteppedRequest:
        """The most urgent one."""
        return self._heap[0][-1]

    def pop_request(self) -> SteppedRequest:
        """Take the most urgent one out."""
        return heappop(self._heap)[-1]

    def prepend_request(self, request: SteppedRequest) -> None:
        """Queue a request: nothing but its priority counts."""
        self.add_request(request)

    def prepend_requests(self, requests: Iterable[SteppedRequest]) -> None:
        """The same for each of them."""
        for request in requests:
            self.add_request(request)

    def remove_request(self, request: SteppedRequest) -> None:
        """Take out a request wherever it stands."""
        self._heap = [entry for entry in self._heap if entry[-1] is not request]
        heapify(self._heap)
