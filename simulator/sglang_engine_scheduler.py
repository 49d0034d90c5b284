"""The scheduler of SGLang (0.5.23, without overlap), in the order of its own decisions.

Lay it beside `managers/scheduler.py` and `schedule_policy.py`: the prompt computed in part goes on,
then waiting requests are admitted while the step's prompt tokens, the places, and the tokens of the
pool allow, a share of what running requests have declared being set aside. Where nobody is
admitted, all decode; if their next tokens do not fit, those who have said least are retracted, and
queue again behind all others with what they have said. Once the pool is full nobody is looked at
before a request leaves.

What is different is bookkeeping: decoding requests are a group that advances in O(1).
"""

from __future__ import annotations

from servecast.errors import InputError
from servecast.simulator.new_token_ratio import SPARE_STEPS, NewTokenRatio
from servecast.simulator.prefill_budget import PrefillBudget
from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits
from servecast.simulator.waiting_order import SchedulePolicy, WaitingOrder

MOST_EXPECTED_TOKENS = 4096
"""Of a declared output, that admission reckons with."""
SPARE_TOKENS = 2
"""Of the model length, that no request reaches."""


class SglangEngineScheduler(Scheduler):
    """SGLang's loop without overlap, with or without its radix cache: prompts first, decodes wait.

    `max_num_batched_tokens` is its chunked prefill size. `running` is in the order of its batch,
    which a retraction changes.
    """

    mixes_decodes = False

    def __init__(
        self,
        limits: SchedulerLimits,
        schedule_policy: SchedulePolicy = "fcfs",
        conservativeness: float = 1.0,
    ) -> None:
        if limits.max_num_batched_tokens % limits.block_size:
            raise InputError(
                f"chunked prefill size {limits.max_num_batched_tokens} is no multiple of the page "
                f"size {limits.block_size}: SGLang refuses to start",
                hint=f"set max_num_batched_tokens to a multiple of {limits.block_size}",
            )
        super().__init__(limits)
        self._cache: RadixCache | None = None
        if limits.enable_prefix_caching:
            self.blocks = self._cache = RadixCache(limits.num_blocks, limits.block_size)
        self._order = WaitingOrder(schedule_policy, self._cache, self._declared)
        self._ratio = NewTokenRatio(conservativeness)
        self._is_full = False
        """Whether nobody is admitted before some request has left."""
        self._retracts = False
        """Whether somebody was retracted for the step just scheduled."""

    def add_request(self, request: Request) -> None:
        """Queue a request; InputError for a prompt that the pool cannot hold with room to spare."""
        room = (self.limits.num_blocks - 1) * self.limits.block_size
        if request.prompt_tokens >= room:
            raise InputError(
                f"a prompt of {request.prompt_tokens} tokens leaves no room in a KV pool of "
                f"{self.limits.num_blocks} pages of {self.limits.block_size}: SGLang would never "
                "admit it",
                hint=f"give a pool of {request.prompt_tokens + 1} tokens and a page, or more",
            )
        super().add_request(request)

    def admits_on_arrival(self) -> bool:
        """Whether the next pass looks at who waits at all."""
        return not self._is_full and len(self.running) < self.limits.max_num_seqs

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of a step without decodes, or none; the retracted."""
        self._retracts = False
        if self.has_rested:
            self._ratio.reset()
            self.has_rested = False
        chunks = self._prefill()
        if chunks:
            self._is_full &= self.group.size > 0  # what starts from nothing starts afresh
            return chunks, []
        retracted: list[Request] = []
        if self.group.blocks_needed(1) > self.blocks.free:
            retracted = self._retract()
        self._drawn = self.group.blocks_needed(1)
        if self._cache is not None:
            self._cache.make_room(self.group.size)
        self.blocks.allocate(self._drawn)
        return [], retracted

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group; the ratio falls but for a retraction.

        Each step evicts as if every request began a page.
        """
        if self._cache is not None and steps > 1:
            before_last = self.group.blocks_needed(steps - 1) - self._drawn
            self._cache.make_room(before_last + self.group.size)
        super().advance(steps)
        self._ratio.fall(steps - 1 if self._retracts else steps)

    def update(self, chunk: Chunk) -> bool:
        """Account a computed chunk; True when the prompt is complete and a token came out."""
        is_complete = super().update(chunk)
        self._is_full &= is_complete
        request = chunk.request
        self.blocks.cache(request, request.num_computed_tokens // self.limits.block_size)
        return is_complete

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        super().finish(request, decoding=decoding)
        self._is_full = False

    def _prefill(self) -> list[Chunk]:
        if self.partial is None:
            if self._is_full or not self.waiting:
                return []
            if len(self.running) >= self.limits.max_num_seqs:
                self._is_full = True
                return []
        self.waiting = self._order.sort(self.waiting)
        budget = PrefillBudget(self.blocks, self.limits.max_num_batched_tokens, self._promised())
        chunks: list[Chunk] = []
        if self.partial is not None:
            tokens = budget.next_chunk(self.partial.num_tokens - self.partial.num_computed_tokens)
            chunks.append(self._take(self.partial, tokens, budget))
        while self.waiting and (budget.chunk_tokens > 0 or not budget.has_capacity):
            if not self._admit(chunks, budget):
                break
        self._allocate(chunks)
        return chunks

    def _admit(self, chunks: list[Chunk], budget: PrefillBudget) -> bool:
        """Admit the first in line, if it may be; whether the next one is to be looked at."""
        if len(self.running) >= self.limits.max_num_seqs:
            self._is_full = True
            return False
        request = self.waiting[0]
        past = self._hold_cached(request)
        rest = request.num_tokens - past
        fits = budget.fits(rest, self._rest(request, request.emitted))
        new_tokens = budget.first_chunk(rest) if fits else 0
        if not new_tokens:
            self._is_full |= not fits and bool(self.running)
            self.blocks.give_back(request)
            return False
        self.running[self.waiting.popleft()] = None
        request.num_computed_tokens = past
        if not request.num_preemptions:
            request.cached_tokens = past
        chunks.append(self._take(request, new_tokens, budget))
        if not budget.has_capacity:
            self._is_full = True
            return False
        return budget.chunk_tokens > 0

    def _hold_cached(self, request: Request) -> int:
        """How many tokens of the request are cached, which it holds now; one is always computed."""
        cache = self._cache
        if cache is None:
            return 0
        match = cache.find(request, (request.num_tokens - 1) // cache.block_size)
        cache.hold(request, match)
        return match.pages * cache.block_size

    def _take(self, request: Request, tokens: int, budget: PrefillBudget) -> Chunk:
        """A chunk of so many tokens, and its output set aside where the prompt ends there."""
        past = request.num_computed_tokens
        is_last = past + tokens == request.num_tokens
        declared = min(self._declared(request), MOST_EXPECTED_TOKENS)
        budget.reserve(tokens, declared if is_last else 0)
        return Chunk(request, tokens, past)

    def _allocate(self, chunks: list[Chunk]) -> None:
        """Give all chunks their blocks, as many evicted as if each began a page of its own."""
        page_size, blocks = self.limits.block_size, self.blocks
        if self._cache is not None:
            pages = -(-sum(chunk.new_tokens for chunk in chunks) // page_size)
            self._cache.make_room(pages if page_size == 1 else pages + len(chunks))
        for request, new_tokens, past_tokens in chunks:
            needed = blocks.blocks_for(past_tokens + new_tokens) - request.num_blocks
            if needed > blocks.free:
                raise AssertionError(f"{new_tokens} tokens of request {request.index} do not fit")
            blocks.allocate(needed)
            request.num_blocks += needed

    def _promised(self) -> float:
        """Tokens of the pool that decoding requests will need, by the ratio, in their order."""
        ratio = self._ratio.now()
        decoding = (request for request in self.running if request is not self.partial)
        return sum(self._rest(request, self._said(request)) * ratio for request in decoding)

    def _said(self, request: Request) -> int:
        """Tokens that a request of the decode group has said."""
        return request.emitted + request.base + self.group.steps - request.num_computed_tokens

    def _declared(self, request: Request) -> int:
        """The longest output that the client asks for and SGLang allows."""
        limits, prompt = self.limits, request.prompt_tokens
        pool = (self.blocks.total - self.blocks.blocks_for(prompt) - 1) * limits.block_size - 1
        return max(min(request.max_tokens, limits.max_model_len - SPARE_TOKENS - prompt, pool), 0)

    def _rest(self, request: Request, said: int) -> int:
        """What a request that has said so much may yet say, as far as admission reckons."""
        return min(max(self._declared(request) - said, 0), MOST_EXPECTED_TOKENS)

    def _retract(self) -> list[Request]:
        """Take back who has said least, of equals who has the longest prompt; one stays."""

        def length(request: Request) -> tuple[int, int]:
            return self._said(request), -request.prompt_tokens

        kept = sorted(self.running, key=length, reverse=True)
        retracted: list[Request] = []
        while not retracted or self.group.blocks_needed(1) > self.blocks.free:
            if len(kept) == 1:
                raise AssertionError(f"request {kept[0].index} alone does not fit the pool")
            retracted.append(kept.pop())
            self._take_blocks(retracted[-1])
            if self._cache is not None:
                spare = SPARE_STEPS * len(kept)
                self._cache.make_room(self.blocks.blocks_for(spare))
        self.running = dict.fromkeys(kept)
        said, declared = sum(map(self._said, kept)), sum(map(self._declared, kept))
        self._ratio.guess(len(kept), said, declared)
        self._is_full, self._retracts = False, True
        return retracted

    def _take_blocks(self, request: Request) -> None:
        self.group.leave(request)
        self.blocks.give_back(request)
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.waiting.append(request)
