"""The scheduler of TensorRT-LLM's in-flight batching under GUARANTEED_NO_EVICT: *unverified*.

From public behaviour alone (its documentation of 1.0 and what its open scheduler decides): the
engine cannot run here, so nothing was laid beside it. What is simplified: KV reuse and beams are
not here, and who finds no room keeps all behind waiting, also where prompts are cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from servecast.errors import InputError
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.request import Request
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


class TrtllmScheduler(OrcaScheduler):
    """Orca's rules as TensorRT-LLM has them: prompts may be cut, or be held back for more.

    `max_num_batched_tokens` is its `max_num_tokens`: what a step computes in all, decodes included.
    """

    budget_name = "max_num_tokens"

    def __init__(
        self,
        limits: SchedulerLimits,
        batch_wait: BatchWait | None = None,
        *,
        chunked_context: bool = False,
    ) -> None:
        """With a `chunked_context` a prompt is cut where a step has no room for all of it."""
        super().__init__(limits)
        self._unit = chunk_unit(limits) if chunked_context else None
        self._batch_wait = batch_wait
        self._held_steps = 0
        self._is_holding = False

    def admits_on_arrival(self) -> bool:
        """Whether the next pass may decide otherwise for the request just queued."""
        return super().admits_on_arrival() or self._is_holding

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: prompts for the step beside the decode group; nobody is preempted."""
        self._is_holding = self._holds()
        if self._is_holding:
            return [], []
        chunks = self._continued()
        chunks += self._admitted(self._room() - sum(chunk.new_tokens for chunk in chunks))
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

    def _continued(self) -> list[Chunk]:
        """The next chunk of the prompt computed in part, if there is one and room for it."""
        if self.partial is None:
            return []
        rest = self.partial.num_tokens - self.partial.num_computed_tokens
        tokens = chunk_tokens(rest, self._room(), self._unit)
        chunk = self._next_chunk(self.partial, tokens, self.blocks.free) if tokens else None
        return [] if chunk is None else [chunk]

    def _first_tokens(self, request: Request, room: int) -> int:
        return chunk_tokens(request.prompt_tokens, room, self._unit)

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


def chunk_tokens(rest: int, room: int, unit: int | None) -> int:
    """Tokens of a prompt that a step with that much room computes: all, or whole units; else 0."""
    if rest <= room:
        return rest
    return 0 if unit is None else room // unit * unit


def chunk_unit(limits: SchedulerLimits) -> int:
    """What cut prompts are cut to multiples of: a block of the KV cache.

    InputError where a step does not hold one.
    """
    if limits.max_num_batched_tokens < limits.block_size:
        raise InputError(
            f"max_num_tokens {limits.max_num_batched_tokens} is below tokens_per_block "
            f"{limits.block_size}, by which prompts are cut",
            hint=f"set max_num_tokens to {limits.block_size} or more",
        )
    return limits.block_size
