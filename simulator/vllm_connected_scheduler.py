"""The scheduler of vLLM V1 (0.32) with a connector to other replicas, such as its `NixlConnector`.

Lay it beside `v1/core/sched/scheduler.py` (what a connector changes there) and
`distributed/kv_transfer/kv_connector/v1/nixl/pull_scheduler.py`. Whose prompt lies elsewhere gets
blocks for all of it as soon as it is first in line, a place is free and they fit; then it waits
aside (`WAITING_FOR_REMOTE_KVS`), lets others pass, and is first in line when its cache has come:
with one token to compute, the last that is known. Whose prompt is wanted elsewhere is over and
keeps its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.request import Request
from servecast.simulator.request_halves import FetchedRequest, PromptRequest
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler


class VllmConnectedScheduler(VllmScheduler):
    """vLLM V1 whose KV caches come from other replicas, or go there."""

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self.reserved: list[FetchedRequest] = []
        """Who got blocks in the last pass, to be filled from elsewhere."""
        self.kept: dict[Request, None] = {}
        """Who is over, and keeps its blocks for others to fetch."""
        self._come: set[Request] = set()
        """Those of `loading` whose cache is there."""

    @property
    def held(self) -> int:
        """Requests that it has in any state."""
        return super().held + len(self.loading)

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""
        self.reserved = []
        return super().schedule()

    def take_in(self, request: Request) -> None:
        """A transfer is over: a cache is there, or blocks are kept no longer."""
        if request in self.kept:
            del self.kept[request]
            self._give_back(request)
        else:
            self._come.add(request)

    def cached_blocks(self, request: Request) -> int:
        """How many blocks of the request's prompt are in the prefix cache now."""
        if self._cache is None:
            return 0
        return self._cache.find(request, self._most_found(request)).blocks

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks if nobody wants them."""
        if isinstance(request, PromptRequest) and request.is_wanted:
            del self.running[request]
            if self._cache is not None:
                self._note_filled(request)
            self.kept[request] = None
        else:
            super().finish(request, decoding=decoding)

    def _admit(self, chunks: list[Chunk], token_budget: int) -> None:
        waiting, running, places = self.waiting, self.running, self.limits.max_num_seqs
        for request in [each for each in self.loading if each in self._come]:
            if token_budget > 0 and len(running) < places:
                chunks.append(self._begin_decoding(request))
                token_budget -= 1
        while waiting and token_budget > 0 and len(running) < places:
            request = waiting[0]
            if isinstance(request, FetchedRequest) and not request.is_fetched:
                if not self._reserve(request):
                    return
                continue
            chunk = self._admit_next(token_budget)
            if chunk is None:
                return
            chunks.append(chunk)
            token_budget -= chunk.new_tokens

    def _reserve(self, request: FetchedRequest) -> bool:
        """Whether all of the request fits beside what of it is cached; then it has its blocks."""
        blocks, size = self.blocks, self.limits.block_size
        if self._cache is None:
            fits = blocks.blocks_for(request.num_tokens) <= blocks.free
        else:
            hit = self._cache.find(request, self._most_found(request))
            fits = self._hold(self._cache, request, hit)
        if not fits:
            return False
        missing = blocks.blocks_for(request.num_tokens) - request.num_blocks
        blocks.allocate(missing)
        request.num_blocks += missing
        request.is_fetched = True
        request.missing_tokens = request.prompt_tokens - request.num_cached_blocks * size
        self.loading.append(self.waiting.popleft())
        self.reserved.append(request)
        return True

    def _begin_decoding(self, request: Request) -> Chunk:
        """Run a request whose cache is there; the last token that is known is computed here."""
        self._come.remove(request)
        self.loading.remove(request)
        self.running[request] = None
        request.num_computed_tokens = request.num_tokens - 1
        if self._cache is not None:
            self._cache.cache(request, request.prompt_tokens // self.limits.block_size)
        return Chunk(request, 1, request.num_computed_tokens)

    def _most_found(self, request: Request) -> int:
        """One token of a prompt is always fetched, or computed."""
        return (request.prompt_tokens - 1) // self.limits.block_size

    def _others_holding(self) -> Sequence[Request]:
        return [*self.loading, *self.kept]

    def _held_tokens(self, request: Request) -> int:
        """Of one that loads, all of it that is known."""
        return request.num_tokens if request in self.loading else request.num_computed_tokens
