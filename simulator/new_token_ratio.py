"""SGLang's guess of how much of a declared output will come."""

from __future__ import annotations

INITIAL = 0.7
FLOOR_SHARE = 0.14
"""Of the initial ratio: what it falls to."""
DECAY_STEPS = 600
SPARE_STEPS = 20
"""Decode steps that the guess after a retraction leaves each request beside what it has said."""


class NewTokenRatio:
    """The share of the rest of the declared outputs that admission sets aside.

    It falls with every decode step, is guessed anew at a retraction, and starts again when nothing
    is left to do. Steps are made up for when the ratio is read, one subtraction each as SGLang
    subtracts, so that both round alike.
    """

    __slots__ = ("_current", "_decay", "_floor", "_initial", "_pending")

    def __init__(self, conservativeness: float) -> None:
        """`conservativeness` scales the initial ratio (`--schedule-conservativeness`)."""
        self._initial = min(INITIAL * conservativeness, 1.0)
        self._floor = min(self._initial * FLOOR_SHARE, 1.0)
        self._decay = (self._initial - self._floor) / DECAY_STEPS
        self._current = self._initial
        self._pending = 0

    def fall(self, steps: int) -> None:
        """Account so many decode steps."""
        self._pending += steps

    def reset(self) -> None:
        """Start again."""
        self._current, self._pending = self._initial, 0

    def guess(self, requests: int, said_tokens: int, declared_tokens: int) -> None:
        """Guess anew from those who stay after a retraction: what they said and declared in all."""
        expected = said_tokens + SPARE_STEPS * requests
        self._current, self._pending = min(1.0, expected / (declared_tokens + 1)), 0

    def now(self) -> float:
        """The ratio after all steps accounted."""
        while self._pending and self._current != self._floor:
            self._pending -= 1
            self._current = max(self._current - self._decay, self._floor)
        self._pending = 0
        return self._current
