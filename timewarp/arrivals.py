"""When requests reach an emulated engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from typing import Protocol

from servecast.errors import UnsupportedError
from servecast.simulator.request import Request
from servecast.traces.workload import Workload


class Arrivals(Protocol):
    """The clients in front of one engine. Times never go back from call to call."""

    def due(self, now_ns: int) -> list[Request]:
        """Take the requests that have arrived by `now_ns`."""
        ...

    def next_ns(self) -> int | None:
        """When the next one arrives, as far as is known now; None where nobody is to come."""
        ...

    def coming(self, until_ns: int) -> Iterator[int]:
        """Prompt tokens of those who will arrive by `until_ns`, as far as is known now."""
        ...

    def finished(self, requests: int, now_ns: int) -> None:
        """So many clients have their last token."""
        ...


class OpenLoop:
    """Requests that come at their own times, whatever the engine does."""

    def __init__(self, requests: Iterator[Request]) -> None:
        """`requests` in order of arrival."""
        self._requests = Ahead(requests)

    def due(self, now_ns: int) -> list[Request]:
        """Take the requests that have arrived by `now_ns`."""
        taken: list[Request] = []
        while (head := self._requests.at(0)) is not None and head.arrival_ns <= now_ns:
            taken.append(self._requests.take())
        return taken

    def next_ns(self) -> int | None:
        """When the next one arrives."""
        head = self._requests.at(0)
        return None if head is None else head.arrival_ns

    def coming(self, until_ns: int) -> Iterator[int]:
        """Prompt tokens of those who will arrive by `until_ns`."""
        for place in count():
            request = self._requests.at(place)
            if request is None or request.arrival_ns > until_ns:
                return
            yield request.prompt_tokens

    def finished(self, requests: int, now_ns: int) -> None:
        """Nobody waits for that."""


class ClosedLoop:
    """Clients that send, wait for the last token, think, and send again."""

    def __init__(self, requests: Iterator[Request], concurrency: int, think_ns: int) -> None:
        """`concurrency` of the `requests` at once, each next one `think_ns` after a finish."""
        self._requests = Ahead(requests)
        self._think_ns = think_ns
        self._due = deque([0] * concurrency)  # in order, because all think equally long

    def due(self, now_ns: int) -> list[Request]:
        """Take the requests that have been sent by `now_ns`."""
        taken: list[Request] = []
        while self._due and self._due[0] <= now_ns and self._requests.at(0) is not None:
            taken.append(self._requests.take())
            taken[-1].arrival_ns = self._due.popleft()
        return taken

    def next_ns(self) -> int | None:
        """When the next client has thought enough."""
        return self._due[0] if self._due and self._requests.at(0) is not None else None

    def coming(self, until_ns: int) -> Iterator[int]:
        """Prompt tokens of those who will send by `until_ns`, or have yet to finish before."""
        for place in count():
            request = self._requests.at(place)
            if request is None or (place < len(self._due) and self._due[place] > until_ns):
                return
            yield request.prompt_tokens

    def finished(self, requests: int, now_ns: int) -> None:
        """So many clients begin to think."""
        self._due.extend([now_ns + self._think_ns] * requests)


class Ahead:
    """Requests made as they are asked for; those that were only looked at are kept."""

    def __init__(self, requests: Iterator[Request]) -> None:
        self._requests = requests
        self._seen: deque[Request] = deque()

    def at(self, place: int) -> Request | None:
        """The request `place` places behind the next; None where there are not so many."""
        while len(self._seen) <= place:
            request = next(self._requests, None)
            if request is None:
                return None
            self._seen.append(request)
        return self._seen[place]

    def take(self) -> Request:
        """The next request, which has been looked at."""
        return self._seen.popleft()


def refuse_sessions(workload: Workload) -> None:
    """UnsupportedError where requests wait for others: the clients here do not know whose end."""
    if workload.sessions is not None:
        raise UnsupportedError(
            f"`{workload.name}` has sessions, which are not emulated yet",
            hint="`servecast simulate` serves them",
        )


def in_turn(requests: Iterator[Request], replica: int, replicas: int) -> Iterator[Request]:
    """The requests that a round-robin router sends to one of its replicas."""
    return islice(requests, replica, None, replicas)
