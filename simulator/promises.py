"""How much running requests may yet say, without looking at each."""

from __future__ import annotations


class Promises:
    """The sum of what decoding requests have declared and not said, kept as they come and go.

    A request's part shrinks by one in every step of the group, so that it is noted as of the
    group's first step.
    """

    __slots__ = ("_requests", "_tokens")

    def __init__(self) -> None:
        self._requests = 0
        self._tokens = 0

    def begin(self, rest_tokens: int, steps: int) -> None:
        """One who may yet say so much begins to decode after `steps` steps of the group."""
        self._requests += 1
        self._tokens += rest_tokens + steps

    def end(self, rest_tokens: int, steps: int) -> None:
        """One who might have said so much decodes no more."""
        self._requests -= 1
        self._tokens -= rest_tokens + steps

    def at_most(self, steps: int) -> int:
        """What all may yet say after `steps` steps, the token of the last one unread or not."""
        return self._tokens - self._requests * (steps - 1)
