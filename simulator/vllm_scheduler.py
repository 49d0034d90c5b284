"""The scheduler of vLLM V1 (0.32, synchronous), in the order of its own decisions.

Lay it beside `vllm/v1/core/sched/scheduler.py`: running requests first, each one token or the rest
of its prompt, in order of admission; a request that finds no block preempts the last one admitted;
then, if nobody was preempted, waiting requests in order of arrival while the token budget, the
number of sequences and the KV blocks allow (a prompt is admitted only if the whole of it fits).

What is different is bookkeeping only: decoding requests are a group that advances in O(1), and what
they fill is noted in the prefix cache when somebody may look for it.
"""

from __future__ import annotations

from collections import deque

from servecast.simulator.fills import Fills
from servecast.simulator.prefix_cache import Hit, PrefixCache
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits


class VllmScheduler(Scheduler):
    """vLLM V1: chunked prefill mixed with decodes, first come first served, recompute."""

    _foresight = 1
    """Whether a pass knows which blocks the step that it schedules will fill, 0 or 1."""

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self.loading: deque[Request] = deque()
        """Those who hold blocks that are filled from elsewhere: first in line once they are."""
        self._cache: PrefixCache | None = None
        self._fills: Fills | None = None
        if limits.enable_prefix_caching:
            self.blocks = self._cache = PrefixCache(limits.num_blocks, limits.block_size)
            self._fills = Fills(self._cache)

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued is first in line and a place is free.

        Then there is budget too, as it is never below `max_num_seqs`.
        """
        return len(self.waiting) == 1 and len(self.running) < self.limits.max_num_seqs

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""
        group, blocks = self.group, self.blocks
        needed = group.blocks_needed(1)
        if needed:
            if needed > blocks.free:
                return [], self._preempt_for_decode()
            blocks.allocate(needed)
            self._drawn = needed
        if not self.waiting and self.partial is None and not self.loading:
            return [], []
        if self._fills is not None:
            self._fills.note(group.steps + self._foresight)
        chunks: list[Chunk] = []
        token_budget = self.limits.max_num_batched_tokens - group.size
        if self.partial is not None:
            chunk = self._next_chunk(self.partial, token_budget, blocks.free)
            if chunk is None:
                return [], [self._preempt_last()]
            chunks.append(chunk)
            token_budget -= chunk.new_tokens
        if self.waiting or self.loading:
            self._admit(chunks, token_budget)
        return chunks, []

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes: no block runs out, nor is one filled by which
        the request first in line might fit."""
        group = self.group
        fill = self._fills.next_step() if self.waiting and self._fills is not None else None
        if fill is not None:
            at_most = min(at_most, fill + 1 - self._foresight - group.steps)
        return group.steps_within(self.blocks.free + self._drawn, at_most)

    def update(self, chunk: Chunk) -> bool:
        """Account a computed chunk; True when the prompt is complete and a token came out."""
        is_complete = super().update(chunk)
        if is_complete and self._fills is not None:
            self._fills.add(chunk.request, self.group.steps)
        return is_complete

    def _admit(self, chunks: list[Chunk], token_budget: int) -> None:
        waiting, running, max_num_seqs = self.waiting, self.running, self.limits.max_num_seqs
        while waiting and token_budget > 0 and len(running) < max_num_seqs:
            chunk = self._admit_next(token_budget)
            if chunk is None:
                break
            chunks.append(chunk)
            token_budget -= chunk.new_tokens

    def _admit_next(self, token_budget: int) -> Chunk | None:
        """Compute a chunk of the first in line; None where not all of it fits."""
        request = self.waiting[0]
        if not self._take_cached(request):
            return None
        chunk = self._next_chunk(request, token_budget, self.blocks.free)
        if chunk is not None:
            self.waiting.popleft()
            self.running[request] = None
        return chunk

    def _take_cached(self, request: Request) -> bool:
        """Whether the whole prompt fits; then the request holds what of it is cached."""
        cache, block_size = self._cache, self.limits.block_size
        if cache is None:
            return -(-request.num_tokens // block_size) <= self.blocks.free
        hit = cache.find(request, (request.num_tokens - 1) // block_size)  # one token is computed
        return self._hold(cache, request, hit)

    def _hold(self, cache: PrefixCache, request: Request, hit: Hit) -> bool:
        """Whether the whole prompt fits beside what was found of it; then that is held."""
        block_size = self.limits.block_size
        needed = -(-request.num_tokens // block_size)
        if needed - hit.blocks + hit.unheld > cache.free:
            return False
        cache.hold(request, hit)
        request.num_computed_tokens = hit.blocks * block_size
        if not request.num_preemptions:
            request.cached_tokens = request.num_computed_tokens
        return True

    def _preempt_for_decode(self) -> list[Request]:
        preempted: list[Request] = []
        for request in self.group.needing_blocks(self.running):
            while not self.blocks.free and request in self.running:
                preempted.append(self._preempt_last())
            if request not in self.running:
                break  # nor is anybody who was admitted later
            self.blocks.allocate(1)
            self._drawn += 1
        return preempted

    def _note_filled(self, request: Request) -> None:
        if self._fills is not None:
            self._fills.note(self.group.steps + self._foresight - 1)
            self._fills.remove(request)
        super()._note_filled(request)
