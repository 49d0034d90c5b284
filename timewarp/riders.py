"""Requests whose next tokens are granted already: they ride along in the steps to come."""

from __future__ import annotations

from collections import defaultdict


class Riders:
    """A count and a sum of contexts, so that a step costs O(1) however many ride.

    Who is granted n tokens in a step is scheduled in that step and rides in the n - 1 after it.
    """

    __slots__ = ("_base_sum", "_leaving", "count", "step")

    def __init__(self) -> None:
        self.step = 0
        """Number of the step that starts next."""
        self.count = 0
        self._base_sum = 0
        self._leaving: defaultdict[int, list[int]] = defaultdict(list)

    @property
    def context_sum(self) -> int:
        """Cached tokens of all who ride in the next step, before it."""
        return self._base_sum + self.count * self.step

    @property
    def steps_left(self) -> int:
        """In how many steps from the next one all who ride now ride on; 0 where nobody does."""
        return min(self._leaving) - self.step if self._leaving else 0

    def join(self, context: int, tokens: int) -> None:
        """Grant `tokens` tokens in the next step to one whose context is `context` before it."""
        base = context - self.step
        self._leaving[self.step + tokens].append(base)
        self._base_sum += base
        self.count += 1

    def advance(self) -> None:
        """Pass to the next step, in which some ride no more."""
        self.step += 1
        for base in self._leaving.pop(self.step, ()):
            self._base_sum -= base
            self.count -= 1
