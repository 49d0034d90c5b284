"""How long a step takes on the device, and the engine's own code between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Times(NamedTuple):
    """One step's nanoseconds."""

    device_ns: int
    host_ns: int


class RecorderTimes:
    """Lays steps one after the other, as the engine waits for them.

    A step occupies the device from when it is handed over, or from the end of the one before where
    that is later, until its tokens are there. What lies between is the host's: all of it where the
    step goes on with somebody, otherwise the CPU time burnt, since the engine may have waited for
    someone to come.
    """

    def __init__(self, now_ns: Callable[[], int], cpu_ns: Callable[[], int]) -> None:
        self._now_ns, self._cpu_ns = now_ns, cpu_ns
        self._begun = now_ns(), cpu_ns()
        self._ended: tuple[int, int] | None = None

    def begin(self) -> None:
        """A step is handed over now."""
        self._begun = self._now_ns(), self._cpu_ns()

    def started(self) -> tuple[int, int]:
        """When the step handed over last was, on both clocks."""
        return self._begun

    def end(self, started: tuple[int, int], goes_on: bool) -> Times:
        """The step that `started` then ends now."""
        begun, before = started, self._ended or started
        self._ended = self._now_ns(), self._cpu_ns()
        end_ns = self._ended[0]
        gap_ns = max(begun[0] - before[0], 0)
        host_ns = gap_ns if goes_on else min(gap_ns, max(begun[1] - before[1], 0))
        return Times(end_ns - max(begun[0], before[0]), host_ns)
