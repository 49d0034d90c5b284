"""A worker that decodes only: its requests share its steps, and advance by a token in each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True, slots=True)
class DecodePool:
    """Workers alike, and what one of them takes for a step."""

    workers: int
    places: int
    """Requests that a worker decodes at once."""
    step_ns: Callable[[int], int]
    """Of a worker with so many requests, at their mean length."""


class DecodeWorker:
    """One of them, as a flow: steps are not told apart, so that it costs nothing to skip them."""

    def __init__(self, pool: DecodePool) -> None:
        self._pool = pool
        self._tokens = 0.0
        """That a request there from the start on would have by now."""
        self._seen_ns = 0
        self._ends: list[tuple[float, int]] = []
        self.due_ns: int | None = None
        """When the next request ends, if none joins before."""

    @property
    def requests(self) -> int:
        """How many it decodes."""
        return len(self._ends)

    @property
    def has_room(self) -> bool:
        """Whether one more may join."""
        return self.requests < self._pool.places

    @property
    def step_ns(self) -> int:
        """What a step of its requests takes now."""
        return self._pool.step_ns(self.requests)

    def join(self, request: int, tokens: int, now_ns: int) -> None:
        """Decode `tokens` of a request from now on."""
        self._advance(now_ns)
        heappush(self._ends, (self._tokens + tokens, request))
        self._plan(now_ns)

    def leave(self, now_ns: int) -> list[int]:
        """The requests that have all their tokens by now."""
        self._advance(now_ns)
        ended: list[int] = []
        while self._ends and self._ends[0][0] <= self._tokens + 1e-6:
            ended.append(heappop(self._ends)[1])
        self._plan(now_ns)
        return ended

    def _advance(self, now_ns: int) -> None:
        if self._ends:
            self._tokens += (now_ns - self._seen_ns) / self.step_ns
        self._seen_ns = now_ns

    def _plan(self, now_ns: int) -> None:
        self.due_ns = None
        if self._ends:
            left = max(0.0, self._ends[0][0] - self._tokens)
            self.due_ns = now_ns + math.ceil(left * self.step_ns)
