"""What schedulers share that admit a request only where all it may ever hold is free."""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits


class ReservingScheduler(Scheduler):
    """First come first served; blocks for prompt and declared output are set aside at admission.

    Nobody is ever preempted, so a pass has nothing to give back. Subclasses say how many prompt
    tokens the next step takes and what must fit in whole.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self._reserved = 0
        """Blocks set aside, those in use among them."""

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued is first in line and a place and its blocks are free."""
        return len(self.waiting) == 1 and self._has_place(self.waiting[0])

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release what was set aside for it."""
        super().finish(request, decoding=decoding)
        self._reserved -= self._needed(request)

    def check(self) -> None:
        """Raise if an invariant of the scheduler, its pool or its reservations is broken."""
        super().check()
        needed = sum(self._needed(request) for request in self.running)
        if needed != self._reserved or needed > self.blocks.total:
            raise AssertionError(f"{self._reserved} blocks set aside, {needed} needed")

    def _needed(self, request: Request) -> int:
        limits, tokens = self.limits, request.prompt_tokens + request.max_tokens
        if tokens > limits.max_model_len:
            tokens = limits.max_model_len
        return -(-tokens // limits.block_size)

    def _has_place(self, request: Request) -> bool:
        is_room = len(self.running) < self.limits.max_num_seqs
        return is_room and self._reserved + self._needed(request) <= self.blocks.total

    def _admit(self, token_budget: int) -> Chunk | None:
        """The first chunk of the request first in line, admitted."""
        request = self.waiting.popleft()
        self.running[request] = None
        self._reserved += self._needed(request)
        return self._next_chunk(request, token_budget, self.blocks.free)
