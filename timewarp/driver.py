"""The clients of one emulated engine, and the turns of its loop."""

from __future__ import annotations

from typing import Protocol

from servecast.errors import ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.journal import Journal
from servecast.timewarp.serving import Serving

IDLE_TURNS = 1000
"""Turns of an engine's loop in which nothing happens, after which nothing ever will."""


class EmulatedEngine(Protocol):
    """A real engine whose device is virtual."""

    name: str

    @property
    def has_work(self) -> bool:
        """Whether a turn would do anything."""
        ...

    def add(self, request: Request) -> None:
        """Queue a request."""
        ...

    def step(self) -> list[int]:
        """One turn of the engine's loop: indices of the requests that it declares finished."""
        ...


class Driver:
    """Brings requests when they are due, lets the engine take its turns, and keeps the records.

    Of all this only the engine's turn takes time, where the clock flows.
    """

    def __init__(self, engine: EmulatedEngine, serving: Serving, journal: Journal) -> None:
        self._engine = engine
        self._serving = serving
        self._clock = serving.device.clock
        self._arrivals = serving.arrivals
        self._journal = journal
        self._idle_turns = 0

    def run(self) -> None:
        """Serve all requests. Raises ServecastError where the engine fails or does no more."""
        with self._clock.held():
            while True:
                for request in self._arrivals.due(self._clock.now_ns()):
                    self._engine.add(request)
                if self._engine.has_work:
                    self._turn()
                elif not self._await_arrival():
                    return

    def _turn(self) -> None:
        before = self._clock.now_ns(), self._journal.steps
        declared = self._step()
        finished = self._note()
        now_ns = self._clock.now_ns()
        if sorted(declared) != sorted(finished):
            raise self._failure(f"ended requests {declared}, and {finished} had their last tokens")
        self._arrivals.finished(len(finished), now_ns)
        self._idle_turns += 1
        if (now_ns, self._journal.steps) != before:
            self._idle_turns = 0
        elif self._idle_turns == IDLE_TURNS and not self._await_arrival():
            raise self._failure("has requests and schedules none of them")

    def _step(self) -> list[int]:
        try:
            with self._clock.released():
                return self._engine.step()
        except ServecastError:
            raise
        except Exception as error:
            raise self._failure(f"raised {type(error).__name__}: {error}") from error

    def _note(self) -> list[int]:
        """Record what came out in a turn; indices of the finished.

        Tokens are out when their step ends or, where time flows, when the turn does.
        """
        clock, finished = self._clock, list[int]()
        while self._serving.done:
            step = self._serving.done.popleft()
            out_ns = clock.now_ns() if clock.is_flowing else step.end_ns
            finished += [each.request.index for each in self._journal.note(step, out_ns)]
        return finished

    def _await_arrival(self) -> bool:
        """Jump to the next arrival; False where nobody is to come."""
        self._idle_turns = 0
        coming_ns = self._arrivals.next_ns()
        if coming_ns is None:
            return False
        self._clock.jump_to(coming_ns)
        return True

    def _failure(self, what: str) -> ServecastError:
        """The engine's name, what it did, and when."""
        return ServecastError(
            f"{self._engine.name} {what}, {self._clock.now_ns() / 1e9:.6f} s into the run "
            f"(step {self._journal.steps:,})"
        )
