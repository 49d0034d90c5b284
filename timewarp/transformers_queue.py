"""transformers' input queue, and the event its idle loop waits for, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue

from servecast.errors import ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.arrivals import Arrivals
from servecast.timewarp.clock import VirtualClock


class ArrivalQueue(Queue[object]):
    """The engine's input queue: who looks into it finds what has arrived by now.

    Time begins when it is first looked into, so that what the engine does before counts for no
    request.
    """

    def __init__(self, clock: VirtualClock, arrivals: Arrivals) -> None:
        super().__init__()
        self._clock, self._arrivals = clock, arrivals
        self._origin_ns: int | None = None
        self.unfinished = 0
        """Requests that have arrived and have not all their tokens."""
        self.send: Callable[[Request], object] = self.put
        """Gives the engine a request, which the engine then puts in here."""

    def now_ns(self) -> int:
        """Nanoseconds since the engine first looked."""
        if self._origin_ns is None:
            self._origin_ns = self._clock.now_ns()
        return self._clock.now_ns() - self._origin_ns

    def empty(self) -> bool:
        """Whether all that has arrived was taken."""
        for request in self._arrivals.due(self.now_ns()):
            self.unfinished += 1
            self.send(request)
        return super().empty()

    def finished(self, requests: int, now_ns: int) -> None:
        """So many requests have their last token."""
        self.unfinished -= requests
        self._arrivals.finished(requests, now_ns)

    def await_next(self) -> bool:
        """Jump to the next arrival; False where none will come.

        Raises ServecastError where requests are left that the engine does not take up.
        """
        next_ns = self._arrivals.next_ns()
        if next_ns is not None:
            self._clock.jump_to(next_ns + (self._origin_ns or 0))
            return True
        if self.unfinished:
            raise ServecastError(
                f"transformers schedules none of its {self.unfinished} unfinished requests",
                hint="raise num_blocks: they may not fit the cache",
            )
        return False


class Doorbell:
    """The event that an idle loop waits for: waiting is a jump to the next arrival."""

    def __init__(self, queue: ArrivalQueue, stop: Callable[[], None]) -> None:
        """`stop` tells the loop to end, once nothing more will arrive."""
        self._queue, self._stop = queue, stop

    def wait(self, timeout: float | None = None) -> bool:
        """Let the idle time pass at once, or tell the loop to end; a timeout is not waited for."""
        if not self._queue.await_next():
            self._stop()
        return True

    def set(self) -> None:
        """Nothing: who waits is never left waiting."""

    def clear(self) -> None:
        """Nothing, for the same reason."""
