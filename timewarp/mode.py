"""How an engine is emulated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Front(Enum):
    """What stands between the clients and an engine."""

    NONE = auto()
    """Requests are handed to the engine as they are due."""
    SERVER = auto()
    """vLLM's own API server, asked by its own benchmark client over loopback."""
    PROCESSES = auto()
    """The same, each in a process of its own."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What time is made of, and how often the engine's scheduler runs."""

    flow: float | None = None
    """Virtual nanoseconds for each of the control loop's CPU time, in place of modelled host time;
    None: the clock stands still meanwhile."""
    stepping: bool = False
    """One pass of the scheduler for each step. Otherwise one stands for many wherever the outcome
    is the same to the nanosecond."""
    log_batches: bool = False
    """Keep who was computed in each step, which takes stepping."""
    front: Front = Front.NONE
