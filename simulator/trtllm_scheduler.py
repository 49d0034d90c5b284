"""The scheduler of TensorRT-LLM by its simple rules: in-flight batching of whole prompts.

Capacity policy GUARANTEED_NO_EVICT. What is simplified: chunked context, KV reuse and beams are not
here.
"""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.simulator.reserving_scheduler import ReservingScheduler
from servecast.simulator.scheduler import Chunk, SchedulerLimits


@dataclass(frozen=True, slots=True)
class BatchWait:
    """Holding prompts back to compute more of them at once; names are TensorRT-LLM's own."""

    batch_wait_max_tokens_ratio: float
    """Prompts go ahead when a step would have this share of `max_num_tokens`."""
    batch_wait_timeout_iters: int
    """Or when they were held back for so many steps."""
    enough_requests: int | None = None
    """Or when so many wait; None does not count them."""


class TrtllmScheduler(ReservingScheduler):
    """Simple rules of TensorRT-LLM: whole prompts beside decodes, as many as the tokens allow.

    `max_num_batched_tokens` is its `max_num_tokens`: what a step computes in all, decodes included.
    """

    def __init__(self, limits: SchedulerLimits, batch_wait: BatchWait | None = None) -> None:
        super().__init__(limits)
        self._batch_wait = batch_wait
        self._held_steps = 0
        self._is_holding = False

    def add_request(self, request: Request) -> None:
        """Queue a request; InputError for a prompt that no step can compute in whole."""
        if request.prompt_tokens > self.limits.max_num_batched_tokens:
            raise InputError(
                f"a prompt of {request.prompt_tokens} tokens exceeds max_num_tokens "
                f"{self.limits.max_num_batched_tokens}: TensorRT-LLM computes prompts in whole",
                hint=f"set max_num_batched_tokens to {request.prompt_tokens} or more",
            )
        super().add_request(request)

    def admits_on_arrival(self) -> bool:
        """Whether the next pass may decide otherwise for the request just queued."""
        return super().admits_on_arrival() or self._is_holding

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: whole prompts for the step beside the decode group; nobody is preempted."""
        self._is_holding = self._holds()
        if self._is_holding:
            return [], []
        chunks: list[Chunk] = []
        token_budget = self._room()
        while self.waiting and self._fits(self.waiting[0], token_budget):
            chunk = self._admit(token_budget)
            if chunk is None:
                break
            chunks.append(chunk)
            token_budget -= chunk.new_tokens
        if chunks:
            self._held_steps = 0
        return chunks, []

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes: prompts are held back for so many at most."""
        if self._batch_wait is not None and self._is_holding:
            left = self._batch_wait.batch_wait_timeout_iters - self._held_steps
            at_most = min(at_most, left)
        return super().horizon(at_most)

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group, and that prompts were held back for them."""
        super().advance(steps)
        if self._is_holding:
            self._held_steps += steps

    def _room(self) -> int:
        return self.limits.max_num_batched_tokens - self.group.size

    def _fits(self, request: Request, token_budget: int) -> bool:
        return request.prompt_tokens <= token_budget and self._has_place(request)

    def _holds(self) -> bool:
        """Whether prompts that could be computed now wait for more: only beside decodes."""
        wait = self._batch_wait
        if wait is None or not self.group.size or not self.waiting:
            return False
        is_enough = wait.enough_requests is not None and len(self.waiting) >= wait.enough_requests
        if is_enough or self._held_steps >= wait.batch_wait_timeout_iters:
            return False
        tokens = self._admissible_tokens()
        wanted = wait.batch_wait_max_tokens_ratio * self.limits.max_num_batched_tokens
        return tokens > 0 and tokens + self.group.size < wanted

    def _admissible_tokens(self) -> int:
        """Prompt tokens that the next step could take in, by order of arrival."""
        room, places = self._room(), self.limits.max_num_seqs - len(self.running)
        tokens, blocks = 0, self.blocks.total - self._reserved
        for request in self.waiting:
            blocks -= self._needed(request)
            if not places or blocks < 0 or tokens + request.prompt_tokens > room:
                break
            tokens += request.prompt_tokens
            places -= 1
        return tokens
