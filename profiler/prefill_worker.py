"""A worker that computes prompts only: a queue for each attention rank, one step for all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servecast.primitives.batch import Batch, Group


@dataclass(frozen=True, slots=True)
class PrefillPool:
    """Workers alike, and what one of them takes for a step."""

    workers: int
    ranks: int
    """Attention ranks of a worker; each computes its own requests."""
    tokens: int
    """That a rank computes in a step at most."""
    is_whole: bool
    """Whether a prompt waits for a step with room for all of it."""
    step_ns: Callable[[Sequence[Batch]], int]
    """Of one worker, given what each of its ranks computes."""


@dataclass(slots=True)
class _Prompt:
    """A request in line: its prompt, and how far it is computed."""

    request: int
    tokens: int
    done: int = 0


class PrefillWorker:
    """One of them. The flow adds requests, takes a step, and comes back when it is over."""

    def __init__(self, pool: PrefillPool) -> None:
        self._pool = pool
        self._queues: list[deque[_Prompt]] = [deque() for _ in range(pool.ranks)]
        self._added = 0
        self.is_busy = False
        self.waiting = 0
        """Requests that are not computed to their end."""

    def add(self, request: int, tokens: int) -> None:
        """Queue a request at the rank whose turn it is."""
        self._queues[self._added % self._pool.ranks].append(_Prompt(request, tokens))
        self._added += 1
        self.waiting += 1

    def step(self) -> tuple[int, list[int]]:
        """Nanoseconds of the next step, and the requests whose prompts end with it; 0 if idle."""
        ended: list[int] = []
        batches = [self._batch(queue, ended) for queue in self._queues]
        self.waiting -= len(ended)
        self.is_busy = any(batch.groups for batch in batches)
        return (self._pool.step_ns(batches) if self.is_busy else 0), ended

    def _batch(self, queue: deque[_Prompt], ended: list[int]) -> Batch:
        """What a rank computes: prompts in order, as far as they go."""
        room, groups = self._pool.tokens, list[Group]()
        while queue and room:
            prompt = queue[0]
            left = prompt.tokens - prompt.done
            if self._pool.is_whole and left > room and groups:
                break
            now = left if self._pool.is_whole else min(left, room)
            groups.append(Group(now, 1, prompt.done))
            prompt.done += now
            room = max(0, room - now)
            if prompt.done == prompt.tokens:
                ended.append(queue.popleft().request)
        return Batch(tuple(groups))
