"""What schedulers of continuous batching have in common: limits, queues, and their bookkeeping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from servecast.errors import InputError
from servecast.primitives.host_kv import HostKv
from servecast.primitives.kv_cache_geometry import KvGroup
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
    enable_prefix_caching: bool = False
    groups: tuple[KvGroup, ...] = ()
    """Of a KV cache that is taken as it is, by an engine that takes every step; elsewhere it is of
    full attention, or stands for it."""

    host: HostKv | None = None
    """Of vLLM: a tier of KV blocks in host memory."""

    def __post_init__(self) -> None:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise InputError(
                f"max_num_batched_tokens {self.max_num_batched_tokens} is below max_num_seqs "
                f"{self.max_num_seqs}: vLLM refuses to start",
                hint=f"set max_num_batched_tokens to {self.max_num_seqs} or more",
            )
        if not self.groups and self.num_blocks * self.block_size < self.max_model_len:
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


class Scheduler(ABC):
    """Decides each step's batch. The engine calls `schedule`, runs the step, then `update`.

    Subclasses are the engines' policies: what is admitted when, and who gives way. Decoding
    requests are a group that advances in O(1); at most one prompt is computed in part at a time.
    """

    mixes_decodes: bool = True
    """Whether decoding requests gain a token in a step that also computes prompts."""

    def __init__(self, limits: SchedulerLimits) -> None:
        self.limits = limits
        self.waiting: deque[Request] = deque()
        self.running: dict[Request, None] = {}
        """In order of admission."""
        self.group = DecodeGroup(limits.block_size)
        self.blocks = KvBlocks(limits.num_blocks, limits.block_size)
        self.partial: Request | None = None
        """The request whose prompt is computed in part: always the last one admitted."""
        self.has_rested = False
        """Whether nothing was left to do, and time passed, since the last pass."""
        self._drawn = 0
        """Blocks taken for the decode group's next step already."""

    @abstractmethod
    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""

    @abstractmethod
    def admits_on_arrival(self) -> bool:
        """Whether the request just queued may join the step that starts next."""

    def looks_at_arrivals(self) -> bool:
        """Whether a pass may admit somebody who has only just come."""
        return len(self.running) < self.limits.max_num_seqs

    def add_request(self, request: Request) -> None:
        """Queue a request behind all others."""
        self.waiting.append(request)

    @property
    def held(self) -> int:
        """Requests that it has in any state."""
        return len(self.running) + len(self.waiting)

    def horizon(self, at_most: int) -> int:
        """For how many decode steps, up to `at_most`, no block runs out."""
        return self.group.steps_within(self.blocks.free + self._drawn, at_most)

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group: its counter and its blocks."""
        group = self.group
        blocks = group.blocks_needed(steps) - self._drawn
        if blocks:
            self.blocks.allocate(blocks)
        self._drawn = 0
        group.steps += steps

    def kv_used(self, steps: int) -> float:
        """Share of the blocks that requests hold, once the decode group has begun so many steps."""
        used = self.blocks.total - self.blocks.free
        if steps:
            used += self.group.blocks_needed(steps) - self._drawn
        return used / self.blocks.total

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
        self._give_back(request)

    def check(self) -> None:
        """Raise if an invariant of the scheduler or its pool is broken."""
        if len(self.running) > self.limits.max_num_seqs:
            raise AssertionError(
                f"{len(self.running)} requests run, max_num_seqs is {self.limits.max_num_seqs}"
            )
        decoding = [request for request in self.running if self._decodes(request)]
        self.group.check(decoding)
        tokens = [request.base + self.group.steps for request in decoding]
        others = [request for request in self.running if not self._decodes(request)]
        others += self._others_holding()
        tokens += [self._held_tokens(request) for request in others]
        held = sum(self.blocks.blocks_for(each) for each in tokens)
        holders = [*decoding, *others]
        self.blocks.check(held - sum(request.num_cached_blocks for request in holders))

    def _next_chunk(self, request: Request, token_budget: int, free: int) -> Chunk | None:
        limits, past = self.limits, request.num_computed_tokens
        tokens = request.num_tokens
        if tokens > past + token_budget:
            tokens = past + token_budget
        blocks = -(-tokens // limits.block_size) - request.num_blocks
        if blocks > free:
            return None
        self.blocks.allocate(blocks)
        request.num_blocks += blocks
        if limits.enable_prefix_caching:
            self.blocks.cache(request, tokens // limits.block_size)
        return Chunk(request, tokens - past, past)

    def _preempt_last(self) -> Request:
        request, _ = self.running.popitem()
        if request is self.partial:
            self.partial = None
        elif self._decodes(request):
            self.group.leave(request)
        self._give_back(request)
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.waiting.appendleft(request)
        return request

    def _give_back(self, request: Request) -> None:
        if self.limits.enable_prefix_caching:
            self._note_filled(request)
        self.blocks.give_back(request)

    def _note_filled(self, request: Request) -> None:
        """Let what the request has filled be found, before it gives up its blocks."""
        self.blocks.cache(request, self._known_tokens(request) // self.limits.block_size)

    def _others_holding(self) -> Iterable[Request]:
        """Who holds blocks and does not run."""
        return ()

    def _decodes(self, request: Request) -> bool:
        """Whether a running request is one of the decode group."""
        return request is not self.partial

    def _held_tokens(self, request: Request) -> int:
        """For how many tokens a running request that does not decode holds blocks."""
        return request.num_computed_tokens

    def _known_tokens(self, request: Request) -> int:
        """How many of its computed tokens the scheduler knows by the time it gives up blocks."""
        return request.num_computed_tokens
