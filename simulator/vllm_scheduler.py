"""The scheduler of vLLM V1 (0.32, synchronous), in the order of its own decisions.

Lay it beside `vllm/v1/core/sched/scheduler.py`: running requests first, each one token or the rest
of its prompt, in order of admission; a request that finds no block preempts the last one admitted;
then, if nobody was preempted, waiting requests in order of arrival while the token budget, the
number of sequences and the KV blocks allow (a prompt is admitted only if the whole of it fits).

What is different is bookkeeping only: decoding requests are a group that advances in O(1).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from servecast.errors import InputError
from servecast.simulator.decode_group import DecodeGroup
from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.request import Request


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """The engine options that bound a step; names are vLLM's own."""

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_blocks: int
    """Blocks that requests can hold: vLLM's `num_gpu_blocks` less its null block."""
    block_size: int = 16

    def __post_init__(self) -> None:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise InputError(
                f"max_num_batched_tokens {self.max_num_batched_tokens} is below max_num_seqs "
                f"{self.max_num_seqs}: vLLM refuses to start",
                hint=f"set max_num_batched_tokens to {self.max_num_seqs} or more",
            )
        if self.num_blocks * self.block_size < self.max_model_len:
            raise InputError(
                f"the KV cache holds {self.num_blocks * self.block_size} tokens, "
                f"max_model_len is {self.max_model_len}: vLLM refuses to start",
                hint=f"set max_model_len to {self.num_blocks * self.block_size} or less",
            )


class Chunk(NamedTuple):
    """Prompt tokens of one request computed in one step, after `past_tokens` computed before."""

    request: Request
    new_tokens: int
    past_tokens: int


class VllmScheduler:
    """Decides each step's batch. The engine calls `schedule`, runs the step, then `update`."""

    def __init__(self, limits: SchedulerLimits) -> None:
        self.limits = limits
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}
        """In order of admission, as vLLM's list."""
        self.group = DecodeGroup(limits.block_size)
        self.blocks = KvBlocks(limits.num_blocks, limits.block_size)
        self.partial: Request | None = None
        """The request whose prompt is computed in part: always the last one admitted."""

    def add_request(self, request: Request) -> None:
        """Queue a request behind all others."""
        self.waiting.append(request)

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued is first in line and a place and budget are free."""
        return (
            len(self.waiting) == 1
            and len(self.running) < self.limits.max_num_seqs
            and self.group.size < self.limits.max_num_batched_tokens
        )

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""
        group, blocks = self.group, self.blocks
        reserved = group.blocks_needed(1)
        if reserved > blocks.free:
            return [], self._preempt_for_decode()
        chunks: list[Chunk] = []
        token_budget = self.limits.max_num_batched_tokens - group.size
        if self.partial is not None:
            chunk = self._next_chunk(self.partial, token_budget, blocks.free - reserved)
            if chunk is None:
                return [], [self._preempt_last()]
            chunks.append(chunk)
            token_budget -= chunk.new_tokens
        if self.waiting:
            self._admit(chunks, token_budget, reserved)
        return chunks, []

    def horizon(self, at_most: int) -> int:
        """For how many decode steps, up to `at_most`, no block runs out."""
        return self.group.steps_within(self.blocks.free, at_most)

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group: its counter and its blocks."""
        group = self.group
        blocks = group.blocks_needed(steps)
        if blocks:
            self.blocks.allocate(blocks)
        group.steps += steps

    def update(self, chunk: Chunk) -> bool:
        """Account a computed chunk; True when the prompt is complete and a token came out."""
        request, new_tokens, past_tokens = chunk
        request.num_computed_tokens = past_tokens + new_tokens
        if request.num_computed_tokens < request.num_tokens:
            self.partial = request
            return False
        if self.partial is request:
            self.partial = None
        request.num_tokens += 1
        request.emitted += 1
        return True

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        if decoding:
            self.group.leave(request)
        del self.running[request]
        self.blocks.release(request.num_blocks)

    def check(self) -> None:
        """Raise if an invariant of the scheduler or its pool is broken."""
        if len(self.running) > self.limits.max_num_seqs:
            raise AssertionError(
                f"{len(self.running)} requests run, max_num_seqs is {self.limits.max_num_seqs}"
            )
        decoding = [request for request in self.running if request is not self.partial]
        self.group.check(decoding)
        tokens = [request.base + self.group.steps for request in decoding]
        if self.partial is not None:
            tokens.append(self.partial.num_computed_tokens)
        self.blocks.check(sum(self.blocks.blocks_for(each) for each in tokens))

    def _admit(self, chunks: list[Chunk], token_budget: int, reserved: int) -> None:
        waiting, running, blocks = self.waiting, self.running, self.blocks
        max_num_seqs = self.limits.max_num_seqs
        while waiting and token_budget > 0 and len(running) < max_num_seqs:
            request = waiting[0]
            if blocks.blocks_for(request.num_tokens) > blocks.free - reserved:
                break
            chunk = self._next_chunk(request, token_budget, blocks.free - reserved)
            if chunk is None:
                break
            waiting.popleft()
            running[request] = None
            chunks.append(chunk)
            token_budget -= chunk.new_tokens

    def _next_chunk(self, request: Request, token_budget: int, free: int) -> Chunk | None:
        past = request.num_computed_tokens
        rest = request.num_tokens - past
        new_tokens = rest if rest < token_budget else token_budget
        blocks = self.blocks.blocks_for(past + new_tokens) - request.num_blocks
        if blocks > free:
            return None
        self.blocks.allocate(blocks)
        request.num_blocks += blocks
        return Chunk(request, new_tokens, past)

    def _preempt_for_decode(self) -> list[Request]:
        preempted: list[Request] = []
        unserved = dict.fromkeys(self.running)
        taken = 0
        while unserved:
            request = next(iter(unserved))
            del unserved[request]
            if request is self.partial or not self.group.needs_block(request):
                continue
            while taken + 1 > self.blocks.free:
                victim = self._preempt_last()
                preempted.append(victim)
                unserved.pop(victim, None)
                if victim is request:
                    break
            else:
                taken += 1
        return preempted

    def _preempt_last(self) -> Request:
        request, _ = self.running.popitem()
        if request is self.partial:
            self.partial = None
        else:
            self.group.leave(request)
        self.blocks.release(request.num_blocks)
        request.num_blocks = 0
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.waiting.appendleft(request)
        return request
