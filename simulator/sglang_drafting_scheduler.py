"""The scheduler of SGLang (0.5.23) where it drafts, in either of its loops."""

from __future__ import annotations

from collections.abc import Collection

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.simulator.bigram_cache import BigramCache
from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.ragged_group import RaggedGroup
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler


class SglangDraftingScheduler(SglangEngineScheduler):
    """Prompts first; else all decode, each with a chain of drafts.

    The step is on its way when `schedule` returns, and its tokens are read later, by `read`: before
    the next pass, or with overlap after it. Meanwhile a request is as long as it is known to be;
    so each is given slots for two steps (`get_alloc_reserve_per_decode`).
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        drafts: int,
        schedule_policy: SglangSchedulePolicy = "fcfs",
        conservativeness: float = 1.0,
        *,
        uses_hidden_states: bool = False,
    ) -> None:
        """`drafts` are made for each request in every step in which it decodes; from hidden states
        by what finds cached text by pairs of tokens."""
        cache = BigramCache if uses_hidden_states else RadixCache
        super().__init__(limits, schedule_policy, conservativeness, cache=cache)
        self.members = RaggedGroup(limits.block_size, 2 * (1 + drafts))
        """Who decodes."""
        self.group = self.members
        self.is_decoding = False
        """Whether all of the group are computed in the step just scheduled."""
        self._unread: Collection[Request] = ()
        """Who is computed in the step that is on its way."""

    def decide(self, unread: Collection[Request]) -> tuple[list[Chunk], list[Request]]:
        """One pass, while the tokens of these are unread: prompt chunks, and the retracted."""
        self._unread, self.is_decoding = unread, False
        if self.partial is not None:
            self._keep(self.partial)
        chunks, retracted = self.schedule()
        for chunk in chunks:
            self._launch(chunk)
        return chunks, retracted

    def read(self, request: Request, said: int, computed: int) -> None:
        """Take in so many tokens of a request, and how many of its own were computed for them."""
        decodes = request in self.members
        if decodes:
            self._promises.end(self._unsaid(request), 0)
        request.emitted += said
        request.num_tokens += said
        request.num_computed_tokens += computed
        if decodes:
            self._promises.begin(self._unsaid(request), 0)

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        if request in self.members:
            self.group.leave(request)
        super().finish(request, decoding=False)

    def check(self) -> None:
        """Raise if an invariant of the scheduler or its pool is broken."""
        held = sum(request.num_blocks - request.num_cached_blocks for request in self.running)
        self.blocks.check(held)

    def keep(self, request: Request) -> None:
        """Let others find the prompt of a request whose first token has been read."""
        self._keep(request)

    def _launch(self, chunk: Chunk) -> None:
        """A chunk is on its way: who completes its prompt is one of those who decode."""
        request, new_tokens, past_tokens = chunk
        request.num_computed_tokens = past_tokens + new_tokens
        if request.num_computed_tokens < request.num_tokens:
            self.partial = request
            self._is_full = False
            return
        if self.partial is request:
            self.partial = None
        self.group.join(request)
        self._promises.begin(self._unsaid(request), 0)

    def _decode(self) -> list[Request]:
        """Let all decode who can, but for those whose unread token is the last one declared."""
        ending = [each for each in self.members if self._is_ending(each)]
        for request in ending:
            self.group.leave(request)
            self._is_full = False
        if not self.group.size or (ending and not self._has_room()):
            return []
        self.is_decoding = True
        retracted = super()._decode()
        self._ratio.fall(1 - self._at_rest)
        return retracted

    def _is_ending(self, request: Request) -> bool:
        return request in self._unread and request.emitted + 1 >= self._longest[request]

    def _draw(self) -> None:
        """Take the blocks of the next step."""
        needed, page_size = self.group.blocks_needed(1), self.limits.block_size
        slots = self.members.slots_needed()
        if self._cache is not None and slots:
            spare = 0 if page_size == 1 else self.group.size
            self._cache.make_room(self.blocks.blocks_for(slots) + spare)
        self.blocks.allocate(needed)
        self.members.reserve()

    def _note_filled(self, request: Request) -> None:
        self._keep(request)

    def _said(self, request: Request) -> int:
        return request.emitted
