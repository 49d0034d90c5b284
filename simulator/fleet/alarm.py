"""Something that happens at its place in the order within an instant."""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import NORMAL, URGENT, EventPriority

RUNS_END, REQUESTS_ARRIVE, RUNS_START = URGENT, NORMAL, EventPriority(NORMAL + 1)
"""The order within one instant: who arrives sees what has finished, a step sees who arrived."""


class Alarm(simpy.Event):
    """Calls `callback` in `delay_ns`, at its place in the order within that instant."""

    def __init__(
        self,
        env: simpy.Environment,
        delay_ns: int,
        priority: EventPriority,
        callback: Callable[[simpy.Event], None],
    ) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.callbacks = [callback]
        env.schedule(self, priority, delay_ns)
