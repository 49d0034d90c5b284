"""The scheduler of SGLang (0.5.23, without overlap), in the order of its own decisions.

Lay it beside `managers/scheduler.py` and `schedule_policy.py`: the prompt computed in part goes on,
then waiting requests are admitted while the step's prompt tokens, the places, and the tokens of the
pool allow, a share of what running requests have declared being set aside. Where nobody is
admitted, all decode; if their next tokens do not fit, those who have said least are retracted, and
queue again behind all others with what they have said. Once the pool is full nobody is looked at
before a request leaves. With mixed chunks those who decode do so beside the prompts, if their next
tokens fit.

What is different is bookkeeping: decoding requests are a group that advances in O(1).
"""

from __future__ import annotations

from functools import partial
from itertools import islice

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.simulator.mailbox import Mailbox
from servecast.simulator.new_token_ratio import SPARE_STEPS, NewTokenRatio
from servecast.simulator.prefill_budget import PrefillBudget
from servecast.simulator.promises import Promises
from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits
from servecast.simulator.sglang_limits import alone, most_output, require_room
from servecast.simulator.waiting_order import WaitingOrder

MOST_EXPECTED_TOKENS = 4096
"""Of a declared output, that admission reckons with."""


class SglangEngineScheduler(Scheduler):
    """SGLang's loop without overlap, with or without its radix cache: prompts first, decodes wait.

    `max_num_batched_tokens` is its chunked prefill size. `running` is in the order of its batch,
    which retractions and mixed chunks change.
    """

    mixes_decodes = False

    def __init__(
        self,
        limits: SchedulerLimits,
        schedule_policy: SglangSchedulePolicy = "fcfs",
        conservativeness: float = 1.0,
        mixed_chunk: bool = False,
        recv_interval: int = 1,
        cache: type[RadixCache] = RadixCache,
    ) -> None:
        super().__init__(limits)
        self._mail = Mailbox(recv_interval)
        self._reads_at_once = True
        """Whether the last step was no decode step."""
        self._cache: RadixCache | None = None
        if limits.enable_prefix_caching:
            self.blocks = self._cache = cache(limits.num_blocks, limits.block_size)
        self._ratio, self._promises = NewTokenRatio(conservativeness), Promises()
        self._longest: dict[Request, int] = {}
        """The longest output that a client asks for and SGLang allows."""
        self._order = WaitingOrder(schedule_policy, self._cache, self._longest.__getitem__)
        self._mixed_chunk = mixed_chunk
        self._is_full = False
        """Whether nobody is admitted before some request has left."""
        self._at_rest = 0
        """Of the decode steps just scheduled, those at which the ratio does not fall."""

    def add_request(self, request: Request) -> None:
        """Queue a request; InputError for a prompt that the pool cannot hold with room to spare."""
        require_room(self.limits, request.prompt_tokens)
        longest = min(request.max_tokens, most_output(self.limits, request.prompt_tokens))
        self._longest[request] = max(longest, 0)
        self._mail.append(request)

    @property
    def held(self) -> int:
        """Requests that it has in any state."""
        return super().held + len(self._mail)

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued may be read, or looked at, in the next pass."""
        return self.looks_at_arrivals()

    def looks_at_arrivals(self) -> bool:
        """The same of one who has only just come."""
        return self._looks_at_all() or self._mail.is_patient

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes: one, where the next pass looks at who waits
        again, as it does if too little of a page was left of the step's tokens."""
        if self.waiting and self._looks_at_all():
            return 1
        if self._mail:
            at_most = min(at_most, self._mail.steps_left)
        return super().horizon(at_most)

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of a step, or none where all decode; the retracted."""
        if self.has_rested:
            self._ratio.reset()
            self.has_rested = False
        self.waiting.extend(self._mail.read(at_once=self._reads_at_once or not self.running))
        chunks = self._prefill()
        self._reads_at_once = bool(chunks)
        if chunks:
            self.mixes_decodes = self._mixed_chunk and self._goes_along(chunks)
            self._at_rest = 1
            # The batch of prompts takes the place of one that is empty, or goes along with it.
            self._is_full &= self.group.size > 0 and not self.mixes_decodes
            return chunks, []
        return [], self._decode()

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group; the ratio falls but for a retraction.

        Each step evicts as if every request began a page.
        """
        if self._cache is not None and steps > 1:
            before_last = self.group.blocks_needed(steps - 1) - self._drawn
            self._cache.make_room(before_last + self.group.size)
        super().advance(steps)
        self._mail.decoded(steps)
        self._ratio.fall(steps - self._at_rest)

    def update(self, chunk: Chunk) -> bool:
        """Account a computed chunk; True when the prompt is complete and a token came out."""
        is_complete = super().update(chunk)
        self._is_full &= is_complete
        if is_complete:
            self._promises.begin(self._unsaid(chunk.request), self.group.steps)
        self._keep(chunk.request)
        return is_complete

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        super().finish(request, decoding=decoding)
        self._promises.end(self._unsaid(request), self.group.steps)
        del self._longest[request]
        self._is_full = False

    def _looks_at_all(self) -> bool:
        """Whether the next pass looks at who waits at all."""
        return not self._is_full and len(self.running) < self.limits.max_num_seqs

    def _prefill(self) -> list[Chunk]:
        if self.partial is None:
            if self._is_full or not self.waiting:
                return []
            if len(self.running) >= self.limits.max_num_seqs:
                self._is_full = True
                return []
        self.waiting = self._order.sort(self.waiting)
        decoding = len(self.running) - (self.partial is not None) if self._mixed_chunk else 0
        promise = partial(self._promised, len(self.running))
        at_most = self._promises.at_most(self.group.steps) * self._ratio.now() + 1
        budget = PrefillBudget(
            self.blocks, self.limits.max_num_batched_tokens, promise, at_most, decoding
        )
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
        match = cache.find(request, cache.pages_of(request.num_tokens - 1))
        cache.hold(request, match)
        return match.pages * cache.block_size

    def _take(self, request: Request, tokens: int, budget: PrefillBudget) -> Chunk:
        """A chunk of so many tokens, and its output set aside where the prompt ends there."""
        past = request.num_computed_tokens
        is_last = past + tokens == request.num_tokens
        declared = min(self._longest[request], MOST_EXPECTED_TOKENS)
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

    def _decode(self) -> list[Request]:
        """Let all decode who can; those retracted for it."""
        retracted = [] if self._has_room() else self._retract()
        self._at_rest = 1 if retracted else 0
        self._draw()
        return retracted

    def _keep(self, request: Request) -> None:
        """Let others find what is computed of a prompt."""
        if self._cache is not None:
            self._cache.cache(request, self._cache.pages_of(request.num_computed_tokens))

    def _goes_along(self, chunks: list[Chunk]) -> bool:
        """Whether the decode group is computed beside these chunks: where there is room for it."""
        if not self.group.size or not self._has_room():
            return False
        self._draw()
        self.running = dict.fromkeys(chunk.request for chunk in chunks) | self.running
        return True

    def _has_room(self) -> bool:
        """Whether the next tokens of all who decode fit, ends of the tree evicted for them."""
        needed = self.group.blocks_needed(1)
        if self._cache is not None:
            self._cache.make_room(needed)
        return needed <= self.blocks.free

    def _draw(self) -> None:
        """Take the blocks of the next tokens."""
        self._drawn = self.group.blocks_needed(1)
        if self._cache is not None:
            self._cache.make_room(self.group.size)
        self.blocks.allocate(self._drawn)

    def _promised(self, running: int) -> float:
        """Tokens of the pool that the first so many of those who run will need, by the ratio."""
        ratio, first = self._ratio.now(), islice(self.running, running)
        decoding = (request for request in first if request is not self.partial)
        return sum(self._rest(request, self._said(request)) * ratio for request in decoding)

    def _said(self, request: Request) -> int:
        """Tokens that a request of the decode group has said."""
        return request.emitted + request.base + self.group.steps - request.num_computed_tokens

    def _unsaid(self, request: Request) -> int:
        """Of what one has declared who is not in the decode group."""
        return self._longest[request] - request.emitted

    def _rest(self, request: Request, said: int) -> int:
        """What a request that has said so much may yet say, as far as admission reckons."""
        return min(max(self._longest[request] - said, 0), MOST_EXPECTED_TOKENS)

    def _retract(self) -> list[Request]:
        """Take back who has said least, of equals who has the longest prompt; one stays."""
        kept = sorted(self.running, key=lambda each: (-self._said(each), each.prompt_tokens))
        retracted: list[Request] = []
        while not retracted or self.group.blocks_needed(1) > self.blocks.free:
            if len(kept) == 1:
                raise alone(kept[0].index)
            retracted.append(kept.pop())
            self._take_blocks(retracted[-1])
            if self._cache is not None:
                spare = SPARE_STEPS * len(kept)
                self._cache.make_room(self.blocks.blocks_for(spare))
        self.running = dict.fromkeys(kept)
        said, declared = sum(map(self._said, kept)), sum(map(self._longest.__getitem__, kept))
        self._ratio.guess(len(kept), said, declared)
        self._is_full = False
        return retracted

    def _take_blocks(self, request: Request) -> None:
        self.group.leave(request)
        self._promises.end(self._unsaid(request), self.group.steps)
        self.blocks.give_back(request)
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.waiting.append(request)
