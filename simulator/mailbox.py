"""Where requests wait that an engine has not read yet."""

from __future__ import annotations

from collections import deque

from servecast.simulator.request import Request


class Mailbox(deque[Request]):
    """Read at every so many decode steps, after each step of prompts, and when nobody runs.

    That is SGLang's `--scheduler-recv-interval`, where a decode step weighs one and any other
    weighs more than the interval.
    """

    __slots__ = ("_interval", "_steps")

    def __init__(self, interval: int = 1) -> None:
        super().__init__()
        self._interval = interval
        self._steps = 0
        """Decode steps since it was read."""

    @property
    def is_patient(self) -> bool:
        """Whether some steps begin without its being read."""
        return self._interval > 1

    @property
    def steps_left(self) -> int:
        """Decode steps before it is read."""
        return self._interval - self._steps

    def decoded(self, steps: int) -> None:
        """Account so many decode steps."""
        self._steps = (self._steps + steps) % self._interval

    def read(self, *, at_once: bool) -> list[Request]:
        """All in it, where it is time to read it: `at_once` it is whatever was decoded."""
        if at_once:
            self._steps = 0
        if self._steps:
            return []
        found = list(self)
        self.clear()
        return found
