"""One virtual time for several engines, each with a control loop of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from servecast.errors import ServecastError
from servecast.timewarp.clock import VirtualClock

_NEVER = 1 << 62


def _nothing(now_ns: int) -> None:
    """Nobody is told."""


class SharedClock(VirtualClock):
    """A frozen clock that lets one of several threads run: the one whose next moment comes first.

    A loop that waits for a moment hands over to whoever acts before it, so no jump skips what
    another loop does; at the same moment the loop that was named first goes first, and those at
    `rest` last. It is the switch between loops too: nothing runs at once, and a run repeats to the
    byte.
    """

    __slots__ = ("_failed", "_may_wake", "_moments", "_numbers", "_running", "_turn", "landed")

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Condition()
        self._moments: dict[int, tuple[int, bool]] = {}
        """When each loop goes on, and whether after all others at that time."""
        self._may_wake: set[int] = set()
        self._numbers: dict[int, int] = {}
        """A loop's number by its thread."""
        self._running = 0
        self._failed: BaseException | None = None
        self.landed: Callable[[int], None] = _nothing
        """Called when a loop has jumped to a moment, before it does anything there."""

    def run(self, loops: Sequence[Callable[[], None]]) -> None:
        """Run all loops to their ends, all at virtual 0 at first.

        Raises what the first of them to fail raised, and ServecastError where all wait for ever.
        """
        self._moments = dict.fromkeys(range(len(loops)), (self.now_ns(), False))
        self._running = 0
        threads = [
            threading.Thread(target=self._take_part, args=(number, loop), daemon=True)
            for number, loop in enumerate(loops)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failed is not None:
            raise self._failed

    def jump_to(self, ns: int) -> None:
        """Wait for `ns`, while the other loops do what they do before."""
        if threading.get_ident() not in self._numbers:
            super().jump_to(ns)
        elif ns > self.now_ns():
            self._wait(ns)
            self.landed(ns)

    def rest(self) -> None:
        """Wait, without time passing, until all others have done what they do at this moment.

        Of several who rest, one after the other goes on.
        """
        self._wait(self.now_ns(), at_rest=True)

    def doze(self, until_ns: int | None) -> None:
        """Wait for a moment, or without one for ever; `wake` ends it earlier."""
        self._wait(_NEVER if until_ns is None else until_ns, may_wake=True)

    def wake(self, number: int, ns: int) -> None:
        """Let a loop that dozes go on at `ns` at the latest."""
        if number in self._may_wake:
            woken = max(ns, self.now_ns()), False
            self._moments[number] = min(self._moments[number], woken)

    def _take_part(self, number: int, loop: Callable[[], None]) -> None:
        self._numbers[threading.get_ident()] = number
        try:
            with self._turn:
                self._turn.wait_for(lambda: self._is_due(number))
            if self._failed is None:
                loop()
        except BaseException as error:  # the thread that runs all of them raises it
            self._failed = self._failed or error
        finally:
            with self._turn:
                del self._moments[number]
                for other in self._may_wake:
                    self.wake(other, self.now_ns())
                self._hand_over()

    def _wait(self, ns: int, *, may_wake: bool = False, at_rest: bool = False) -> None:
        number = self._numbers[threading.get_ident()]
        with self._turn:
            self._moments[number] = ns, at_rest
            if may_wake:
                self._may_wake.add(number)
            self._hand_over()
            self._turn.wait_for(lambda: self._is_due(number))
            self._may_wake.discard(number)
        if self._failed is not None:
            raise ServecastError(f"another engine has failed: {self._failed}")

    def _is_due(self, number: int) -> bool:
        return self._running == number or self._failed is not None

    def _hand_over(self) -> None:
        """Let the loop go on whose moment comes first."""
        if self._moments:
            (ns, _), self._running = min((when, number) for number, when in self._moments.items())
            if ns == _NEVER:
                self._failed = self._failed or ServecastError("every engine waits for another one")
            else:
                super().jump_to(ns)
        self._turn.notify_all()
