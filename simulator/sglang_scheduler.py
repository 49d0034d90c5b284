"""The scheduler of SGLang by its simple rules: prompts first, decodes wait.

What is simplified: SGLang guesses how much of the declared output will come and takes running
requests back where the guess was too low; here the whole is set aside, so nobody is taken back.
Prefix reuse, mixed chunks, and priorities other than first come first served are not here.
"""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.reserving_scheduler import ReservingScheduler
from servecast.simulator.scheduler import Chunk, SchedulerLimits


class SglangScheduler(ReservingScheduler):
    """Simple rules of SGLang: while any prompt can be computed, only prompts are.

    `max_num_batched_tokens` is its chunked prefill size: what a step of prompts computes in all.
    The last prompt of a step may be cut, and goes on in the next one before any other.

    New requests are read from the queue at every `recv_interval`-th decode step, after each step of
    prompts, and while nothing runs (its `--scheduler-recv-interval`, where a decode step weighs one
    and any other weighs more than the interval).
    """

    mixes_decodes = False

    def __init__(self, limits: SchedulerLimits, recv_interval: int = 1) -> None:
        super().__init__(limits)
        self._recv_interval = recv_interval
        self._steps_since_poll = 0
        self._read = 0
        """How many of the waiting, from the first, have been read."""
        self._computed_prompts = False

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued may join the step that starts next, or be read then."""
        return super().admits_on_arrival() or self._recv_interval > 1

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of a step without decodes, or none; nobody is preempted."""
        self._poll()
        chunks: list[Chunk] = []
        token_budget = self.limits.max_num_batched_tokens
        if self.partial is not None:
            chunk = self._next_chunk(self.partial, token_budget, self.blocks.free)
            if chunk is not None:
                chunks.append(chunk)
                token_budget -= chunk.new_tokens
        while token_budget > 0 and self._read and self._has_place(self.waiting[0]):
            self._read -= 1
            chunk = self._admit(token_budget)
            if chunk is None:
                break
            chunks.append(chunk)
            token_budget -= chunk.new_tokens
        self._computed_prompts = bool(chunks)
        return chunks, []

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes: until requests that wait unread are read."""
        if self._read < len(self.waiting):
            at_most = min(at_most, self._recv_interval - self._steps_since_poll)
        return super().horizon(at_most)

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group, and the polls among them."""
        super().advance(steps)
        self._steps_since_poll = (self._steps_since_poll + steps) % self._recv_interval

    def _poll(self) -> None:
        """Read the queue where it is time to."""
        if self._computed_prompts or not self.group.size:
            self._steps_since_poll = 0
        if not self._steps_since_poll:
            self._read = len(self.waiting)
