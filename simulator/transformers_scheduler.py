"""The scheduler of transformers' continuous batching (5.23, synchronous), in its own order.

Lay it beside `generation/continuous_batching/scheduler.py` and `offloading_manager.py`: candidates
are the decoding, then those whose prompt is computed in part, then the waiting (`fifo`; in
`prefill_first` the first two change places). Each takes what is left of the token budget if the
cache holds it, or is passed over. Below the safety margin no prompt goes ahead beside others. Who
is active and finds no block is starved; of the starved the newest lose their blocks, until the next
step has room for the rest, and queue again behind all others, where nobody is admitted before some
request has ended.

What is different is bookkeeping: decoding requests are a group that advances in O(1). A decoding
request that a step passes over is set aside from the group, and comes back as a chunk of one token.
With `enable_prefix_caching` blocks are shared, which is transformers' `allow_block_sharing`.
"""

from __future__ import annotations

from servecast.primitives.policy import TransformersSchedulerType
from servecast.simulator.block_ledger import BlockLedger
from servecast.simulator.candidates_pass import CandidatesPass
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits

MARGINS: dict[TransformersSchedulerType, float] = {"fifo": 0.15, "prefill_first": 0.0}
"""Share of free blocks below which no prompt goes ahead beside others."""


class TransformersScheduler(Scheduler):
    """transformers' `fifo` or `prefill_first`; `waiting` is in order of arrival and requeueing."""

    def __init__(
        self,
        limits: SchedulerLimits,
        scheduler_type: TransformersSchedulerType = "fifo",
        safety_margin: float | None = None,
    ) -> None:
        """Without a `safety_margin` the scheduler's own holds."""
        super().__init__(limits)
        self._prefill_first = scheduler_type == "prefill_first"
        margin = MARGINS[scheduler_type] if safety_margin is None else safety_margin
        self._least_free = _least_free(limits.num_blocks, margin)
        self._ledger: BlockLedger | None = None
        if limits.enable_prefix_caching:
            self.blocks = self._ledger = BlockLedger(limits.num_blocks, limits.block_size)
        self._readable = limits.num_blocks * limits.block_size
        self._naming: dict[Request, None] = {}
        """Those with blocks to come whose content others may know."""
        self._partials: dict[Request, None] = {}
        self._aside: dict[Request, None] = {}
        self._starved: list[tuple[Request, int]] = []
        """Active requests that found no blocks, and how many they need."""
        self._past_tokens = 0
        """Of the chunk accounted last."""
        self.block_new_requests = False
        """Whether the waiting stay out until some request has ended."""

    def admits_on_arrival(self) -> bool:
        """Whether the next pass looks at the waiting at all."""
        return not self.block_new_requests and self.group.size < self.limits.max_num_seqs

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the chunks beside the decode group, and who leaves the group.

        Those have lost their blocks, or stand still for a step.
        """
        self._mark_complete_blocks()
        offloaded: list[Request] = []
        done = self._process_candidates()
        while not done.scheduled:
            if not self._offload(offloaded):
                raise AssertionError("no request can be scheduled and none can give way")
            done = self._process_candidates()
        if self._starved:
            self._offload(offloaded)
        still = [request for request in done.passed_over if request in self.running]
        for request in still:
            self.group.leave(request)
            self._aside[request] = None
        return done.chunks, offloaded + still

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes.

        One while somebody is set aside, starved, or comes first in the next. Else up to the step
        that begins below the safety margin, if blocks are kept that it gives up; up to the next
        complete block that others may know; and while all that decode can be read.
        """
        is_next = self._prefill_first and self._partials  # found its beginning in this pass
        if self._aside or self._starved or is_next:
            return 1
        group = self.group
        read = group.base_sum + group.size * group.steps
        at_most = min(at_most, (self._readable - read) // group.size + 1)
        if self._ledger is not None and self._ledger.kept:
            spare = max(self.blocks.free + self._drawn - self._least_free, 0)
            at_most = group.steps_within(spare, at_most - 1) + 1
        size = self.limits.block_size
        for request in self._naming:
            if request not in self._partials:
                at_most = min(at_most, size - (request.base + group.steps) % size)
        return super().horizon(at_most)

    def update(self, chunk: Chunk) -> bool:
        """Account a computed chunk; True when no known token is left and one came out."""
        request, new_tokens, past_tokens = chunk
        request.num_computed_tokens = past_tokens + new_tokens
        self._past_tokens = past_tokens
        if request.num_computed_tokens < request.num_tokens:
            self._partials[request] = None
            return False
        self._partials.pop(request, None)
        request.num_tokens += 1
        request.emitted += 1
        return True

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens; blocks filled before this step may be kept."""
        if self._ledger is not None:
            decoded = request.base + self.group.steps - 1
            before = decoded if decoding else self._past_tokens
            self._ledger.mark(request, before // self.limits.block_size)
            self._naming.pop(request, None)
        super().finish(request, decoding=decoding)
        self.block_new_requests = False

    def check(self) -> None:
        """Raise if an invariant of the scheduler or its pool is broken."""
        apart = self._partials.keys() | self._aside.keys()
        self.group.check([request for request in self.running if request not in apart])
        held = sum(self.blocks.blocks_for(self._computed(request)) for request in self.running)
        if self._ledger is not None:
            held -= sum(map(self._ledger.named, self.running))
        self.blocks.check(held)

    def _computed(self, request: Request) -> int:
        if request in self._partials or request in self._aside:
            return request.num_computed_tokens
        return request.base + self.group.steps

    def _mark_complete_blocks(self) -> None:
        """Of those with names: they are found, or found to be there already, from now on."""
        ledger = self._ledger
        if ledger is not None:
            for request in list(self._naming):
                ledger.mark(request, self._computed(request) // self.limits.block_size)
                if request.num_cached_blocks >= request.named_blocks():
                    del self._naming[request]

    def _process_candidates(self) -> CandidatesPass:
        """Whoever can be computed in the next step, their blocks allocated."""
        self._starved = []
        limits = self.limits
        done = CandidatesPass(
            limits.max_num_batched_tokens,
            self._readable,
            limits.max_num_seqs,
            self._meets_margin(),
        )
        if self._prefill_first:
            self._prefill(list(self._partials), done)
            self._decode(done)
        else:
            self._decode(done)
            self._prefill(list(self._partials), done)
        if not self.block_new_requests and not done.is_over and self.waiting:
            self._prefill(list(self.waiting), done)
        return done

    def _meets_margin(self) -> bool:
        """Whether enough blocks are free, after those that are kept were given up if need be."""
        if self.blocks.free < self._least_free:
            self._evict()
        return self.blocks.free >= self._least_free

    def _decode(self, done: CandidatesPass) -> None:
        """The decoding requests: all of the group at once, or one by one where some cannot."""
        group, blocks = self.group, self.blocks
        needed = group.blocks_needed(1)
        budget = 0 if done.is_over else min(done.token_budget, done.request_budget)
        read = group.base_sum + group.size * group.steps
        exceeds = group.size > budget or needed > blocks.free or read > done.cache_budget
        if self._aside or exceeds:
            for request in self.running:
                if request not in self._partials:
                    self._decode_one(request, done)
            return
        blocks.allocate(needed)
        self._drawn = needed
        done.take(group.size, read, group.size)

    def _decode_one(self, request: Request, done: CandidatesPass) -> None:
        is_aside = request in self._aside
        needed = self._needed(request, 1) if is_aside else int(self.group.needs_block(request))
        read = self._computed(request)
        is_over = done.is_over or done.cache_budget < read
        if not is_over and needed <= self.blocks.free:
            if is_aside:
                del self._aside[request]
                self._add_chunk(request, done)
                return
            self.blocks.allocate(needed)
            self._drawn += needed
            done.take(1, read)
            return
        if not is_over:
            self._starved.append((request, needed))
        if not is_aside:
            done.passed_over.append(request)

    def _prefill(self, requests: list[Request], done: CandidatesPass) -> None:
        """Prompts, those computed in part or the waiting, as far as budgets and blocks go."""
        for request in requests:
            if not done.in_safety_margin and done.scheduled:
                done.is_closed = True
            if done.is_over:
                return
            is_active = request in self.running or self._finds_prefix(request)
            if done.cache_budget < request.num_computed_tokens:
                continue
            needed = self._needed(request, done.token_budget)
            if needed <= self.blocks.free:
                if not is_active:
                    self.waiting.remove(request)
                    self.running[request] = None
                self._add_chunk(request, done)
            elif is_active:
                self._starved.append((request, needed))

    def _finds_prefix(self, request: Request) -> bool:
        """Whether a waiting request begins with blocks that are there: then it is active."""
        if self._ledger is None or not (blocks := self._ledger.find(request)):
            return False
        self._ledger.hold(request, blocks)
        request.num_computed_tokens = blocks * self.limits.block_size
        self.waiting.remove(request)
        self.running[request] = self._partials[request] = None
        return True

    def _add_chunk(self, request: Request, done: CandidatesPass) -> None:
        chunk = self._next_chunk(request, done.token_budget, self.blocks.free)
        if chunk is not None:
            if request.scheduled_ns is None:
                request.cached_tokens = chunk.past_tokens
            done.chunks.append(chunk)
            done.take(chunk.new_tokens, chunk.past_tokens)
            if self._ledger is not None and request.num_cached_blocks < request.named_blocks():
                self._naming[request] = None

    def _needed(self, request: Request, token_budget: int) -> int:
        """New blocks for what the budget allows of a request that is not in the group."""
        past = request.num_computed_tokens
        new_tokens = min(request.num_tokens - past, token_budget)
        return self.blocks.blocks_for(past + new_tokens) - request.num_blocks

    def _offload(self, offloaded: list[Request]) -> bool:
        """Take the blocks of starved requests, the newest first; whether anything was freed."""
        evicted = self._evict()
        starved, active = self._starved, len(self.running)
        victims: list[Request] = []
        while starved and active - len(victims) > 1:
            if sum(needed for _, needed in starved) <= self.blocks.free:
                break
            request, _ = starved.pop()
            self._take_blocks(request)
            victims.append(request)
        if not victims:
            return evicted
        victims.reverse()
        self.waiting.extend(victims)
        offloaded.extend(victims)
        self.block_new_requests = True
        return True

    def _take_blocks(self, request: Request) -> None:
        if request in self._aside or request in self._partials:
            self._aside.pop(request, None)
            self._partials.pop(request, None)
        else:
            self.group.leave(request)
        del self.running[request]
        self._naming.pop(request, None)
        if self._ledger is None:
            self.blocks.give_back(request)
        else:
            self._ledger.drop(request)
        request.num_computed_tokens = 0
        request.num_preemptions += request.scheduled_ns is not None  # else it only held a prefix

    def _evict(self) -> bool:
        """Give up the kept blocks; whether there were any."""
        return self._ledger is not None and self._ledger.evict()


def _least_free(num_blocks: int, margin: float) -> int:
    """The fewest free blocks that are the share `margin`, divided as transformers divides."""
    return next(free for free in range(num_blocks + 1) if free / num_blocks >= margin)
