"""Virtual time for an engine's own control loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from operator import index

from servecast.errors import InputError
from servecast.primitives.batch import StepTime


class VirtualClock:
    """Integer nanoseconds that move by jumps: to the end of a step, or to the next arrival.

    Frozen (the default), only jumps move it: the control loop's own work takes no time, and a step
    lasts as long as its modelled device *and* host time. Flowing, each nanosecond of CPU that the
    control loop burns is `scale` nanoseconds of virtual time, in place of modelled host time.

    When a jump is false. A jump says that nothing happens before its target. That holds while one
    thread does everything, and it is wrong

    - when another thread or process would have acted earlier: a message in flight, a timer, a
      worker that is still computing. Count messages before a jump; a grace period only makes the
      mistake rare;
    - when the engine reads a clock that was not replaced (a module imported after `warped`, or
      compiled code): its timeouts and its metrics then run on real time;
    - when flowing, and the CPU here is not the CPU there: `scale` is the ratio of the two, and
      whatever disturbs this machine's caches disturbs the result. Flowing runs do not repeat.

    The clock belongs to the thread that made it. Other threads read it without moving it.
    """

    __slots__ = ("_base_ns", "_cpu_ns", "_is_held", "_mark_ns", "_owner", "scale")

    def __init__(
        self, *, scale: float | None = None, cpu_ns: Callable[[], int] = time.thread_time_ns
    ) -> None:
        """Frozen without a `scale`; `cpu_ns` reads what the calling thread has burnt.

        Raises InputError where `scale` is not above 0.
        """
        if scale is not None and not 0.0 < scale < float("inf"):
            raise InputError(
                f"a clock cannot flow {scale} times as fast as the CPU time of the control loop",
                hint="give a number above 0, such as 1, or none for a clock that stands still",
            )
        self.scale = scale
        self._cpu_ns = cpu_ns
        self._owner = threading.get_ident()
        self._is_held = False
        self._base_ns = 0
        self._mark_ns = cpu_ns()

    @property
    def is_flowing(self) -> bool:
        """Whether the control loop's CPU time counts."""
        return self.scale is not None

    def now_ns(self) -> int:
        """Virtual nanoseconds since the run began."""
        if self.scale is None or self._is_held or threading.get_ident() != self._owner:
            return self._base_ns
        return self._base_ns + round((self._cpu_ns() - self._mark_ns) * self.scale)

    def jump_to(self, ns: int) -> None:
        """Move to `ns`; where that has passed already the clock stays: it never goes back."""
        now_ns = self.now_ns()
        if ns > now_ns:
            self._base_ns = ns
            self._mark_ns = self._cpu_ns()

    def sleep(self, ns: int) -> None:
        """Let `ns` nanoseconds pass; raises InputError where that is no duration."""
        self.jump_to(self.now_ns() + duration_ns(ns, "a pause"))

    def held(self) -> AbstractContextManager[None]:
        """No time flows inside: what servecast computes is no work of the engine's.

        A jump inside moves the clock all the same.
        """
        return self._switched(held=True)

    def released(self) -> AbstractContextManager[None]:
        """Time flows inside, where the clock is `held` around it."""
        return self._switched(held=False)

    @contextmanager
    def _switched(self, *, held: bool) -> Generator[None]:
        was_held = self._is_held
        self._base_ns, self._is_held = self.now_ns(), held
        self._mark_ns = self._cpu_ns()
        try:
            yield
        finally:
            self._base_ns, self._is_held = self.now_ns(), was_held
            self._mark_ns = self._cpu_ns()

    def end_ns(self, start_ns: int, step: StepTime) -> int:
        """When a step that starts at `start_ns` ends.

        The host's modelled time counts only while the clock is frozen. Raises InputError where the
        cost is no duration.
        """
        device_ns = duration_ns(step.device_ns, "the device time of a step")
        host_ns = duration_ns(step.host_ns, "the host time of a step")
        return start_ns + device_ns + (0 if self.is_flowing else host_ns)


def duration_ns(value: int, what: str) -> int:
    """`value` as whole nanoseconds; InputError naming `what` where it is negative or no integer.

    Costs come from tables and from extensions, where a NaN is one division away; on a clock it
    would be silent, since no comparison with it is true.
    """
    try:
        whole = index(value)
    except TypeError:
        whole = -1
    if whole < 0:
        raise InputError(
            f"{what} is {value} ns: a duration is a whole number of nanoseconds, 0 or more",
            hint="check the cost source and the calibration that priced it",
        )
    return whole
