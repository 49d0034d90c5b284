"""The `time` module as an engine's modules see it while they run on virtual time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from servecast.timewarp.clock import VirtualClock

EPOCH_NS = 1_700_000_000 * 10**9
"""What `time.time` shows at virtual 0: a date of its own, the same in every run."""


class WarpedTime(ModuleType):
    """Stands in for `time`: its clocks are virtual, a sleep is a jump, the rest is the real one."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__("time", time.__doc__)
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time_ns(self) -> int:
        """Virtual nanoseconds since 1970, were the run to begin at `EPOCH_NS`."""
        return EPOCH_NS + self._clock.now_ns()

    def time(self) -> float:
        """`time_ns` in seconds."""
        return self.time_ns() / 1e9

    def monotonic_ns(self) -> int:
        """Virtual nanoseconds since the run began."""
        return self._clock.now_ns()

    def monotonic(self) -> float:
        """`monotonic_ns` in seconds."""
        return self._clock.now_ns() / 1e9

    perf_counter_ns = monotonic_ns
    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._clock.sleep(round(seconds * 1e9))


_CLOCKS = ("time", "monotonic", "perf_counter", "sleep")
_NAMES = (*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS[:-1]))


@contextmanager
def warped(clock: VirtualClock, *packages: str) -> Generator[WarpedTime]:
    """Virtual time in every module of `packages` imported by now; real time again afterwards.

    Replaced are `import time` and `from time import perf_counter` alike, in the engine's modules
    only: threads, locks and sockets of the standard library keep the real clock.
    """
    warp = WarpedTime(clock)
    stand_ins: dict[int, Any] = {id(getattr(time, name)): getattr(warp, name) for name in _NAMES}
    stand_ins[id(time)] = warp
    undo: list[Callable[[], None]] = []
    try:
        for module in _modules(packages):
            for name, value in list(vars(module).items()):
                if id(value) in stand_ins:
                    undo.append(_restorer(module, name, value))
                    setattr(module, name, stand_ins[id(value)])
        yield warp
    finally:
        for restore in undo:
            restore()


def _modules(packages: tuple[str, ...]) -> list[ModuleType]:
    return [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in packages and module  # None bars a name from being imported
    ]


def _restorer(module: ModuleType, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(module, name, value)
