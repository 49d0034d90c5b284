"""The scheduler of vLLM V1 (0.32) with its `OffloadingConnector`: prefixes come from host memory.

Lay it beside `v1/core/sched/scheduler.py` (what a connector changes there) and
`distributed/kv_transfer/kv_connector/v1/offloading/scheduler.py`. Who finds blocks in the host
beyond those of the GPU holds room for them, waits aside, and lets others pass; and is first in line
when they have come. Who finds blocks that are under way themselves is passed over, and so is who
gave way while blocks of its own are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from servecast.errors import InputError
from servecast.simulator.extent_map import Piece
from servecast.simulator.host_transfers import HostTransfers
from servecast.simulator.load_rule import LoadRule
from servecast.simulator.prefix_cache import Hit
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler


class VllmTieredScheduler(VllmScheduler):
    """vLLM V1 with a tier of KV blocks in host memory. `begin` comes before each `schedule`."""

    def __init__(
        self, limits: SchedulerLimits, transfers: HostTransfers, pays: LoadRule | None = None
    ) -> None:
        """`pays` decides what is loaded; None: all that is found, as vLLM does."""
        super().__init__(limits)
        if self._cache is None:
            raise InputError(
                "a host tier of KV blocks without a prefix cache is not simulated",
                hint="set enable_prefix_caching to true",
            )
        self._gpu_cache = self._cache
        self.transfers = transfers
        self._pays = pays
        self._now_ns = self._polled_ns = 0
        self._due_ns: dict[Request, int] = {}
        """When what a request loads is there, until that has been taken in."""
        self._reserved = 0
        """Blocks that those who load will need besides."""
        self._passed_over = 0
        """Requests first in line that wait for blocks under way."""
        self._wavers = False
        """Whether somebody was left waiting of whom the GPU has blocks that may go."""
        self._computing: list[tuple[Request, Sequence[Piece]]] = []
        """What has been offered in the last pass: it leaves when the step that it was for is over.
        """
        self._refused: dict[Request, None] = {}
        """Whose prompt the tier has had no room for: it is offered again in every pass."""
        self._ended: list[Request] = []
        """Who is over since the last pass."""

    @property
    def held(self) -> int:
        """Requests that it has in any state."""
        return super().held + len(self.loading)

    def begin(self, now_ns: int, polled_ns: int) -> None:
        """A pass at `now_ns`, before which transfers were last asked after at `polled_ns`."""
        self._now_ns, self._polled_ns = now_ns, polled_ns
        self.transfers.poll(polled_ns)

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""
        chunks, preempted = super().schedule()
        for request in [each for each in self._refused if each in self.running]:
            self._offer(request, request.prompt_tokens)
        for request, new_tokens, past_tokens in chunks:
            self._offer(request, min(past_tokens + new_tokens, request.prompt_tokens))
        self._close()
        return chunks, preempted

    def rest(self, now_ns: int, polled_ns: int) -> None:
        """A pass when nobody is left: its step takes no time."""
        self.begin(now_ns, polled_ns)
        self._close()
        self.computed(now_ns)

    def computed(self, now_ns: int) -> None:
        """The step that was scheduled last was over at `now_ns`: blocks can be stored."""
        for request, run in self._computing:
            self.transfers.send(request, run, now_ns)
        self._computing.clear()

    def next_ns(self) -> int | None:
        """When a transfer ends that somebody waits for; None where nobody does."""
        return self.transfers.next_ns() if self._passed_over else self.transfers.next_load_ns()

    def admits_on_arrival(self) -> bool:
        """Whether all others in line wait for blocks under way, and a place is free."""
        first = len(self.waiting) - 1 <= self._passed_over
        return first and len(self.running) < self.limits.max_num_seqs

    def horizon(self, at_most: int) -> int:
        """For how many decode steps nothing changes.

        For one where a prompt is offered again, or somebody waits for blocks that have not left
        yet. And where the GPU may lose what it has of somebody in line, while transfers are under
        way: what is looked for in the host then may be among them, or may not be any more.
        """
        leaving = any(run for _, run in self._computing)
        under_way = leaving or self.transfers.next_ns() is not None
        wavers = (self._passed_over and leaving) or (self._wavers and under_way)
        return super().horizon(1 if wavers or self._refused else at_most)

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        super().finish(request, decoding=decoding)
        self._ended.append(request)

    def _admit(self, chunks: list[Chunk], token_budget: int) -> None:
        passed_over: deque[Request] = deque()
        self._passed_over, self._wavers = 0, False
        left = self._admit_loaded(chunks, token_budget)
        while self.waiting and left > 0 and len(self.running) < self.limits.max_num_seqs:
            left = self._admit_first(chunks, left, passed_over)
        self._passed_over = len(passed_over)
        self.waiting.extendleft(reversed(passed_over))

    def _admit_loaded(self, chunks: list[Chunk], token_budget: int) -> int:
        """Compute on for those whose blocks have come. Returns what is left of the budget, 0 too
        where one of them finds no room."""
        loading, places = self.loading, self.limits.max_num_seqs
        while loading and token_budget > 0 and len(self.running) < places:
            request = loading[0]
            due_ns = self._due_ns.get(request)
            if due_ns is not None:
                if due_ns > self._polled_ns:
                    break
                self._take_in(request)
            remaining = self._remaining(request)
            if remaining > self.blocks.free:
                return 0
            self._reserved -= remaining
            loading.popleft()
            token_budget = self._start(request, chunks, token_budget)
        return token_budget

    def _admit_first(
        self, chunks: list[Chunk], token_budget: int, passed_over: deque[Request]
    ) -> int:
        """Let the first in line compute or load, or pass it over. Returns what is left of the
        budget, 0 where it finds no room."""
        request, block_size = self.waiting[0], self.limits.block_size
        if self.transfers.is_storing(request):  # it gave way, and its own blocks have not left yet
            passed_over.append(self.waiting.popleft())
            return token_budget
        hit = self._gpu_cache.find(request, (request.num_tokens - 1) // block_size)
        found = self.transfers.find(request, hit.blocks, request.num_tokens // block_size)
        if found.blocks and not found.is_settled:
            passed_over.append(self.waiting.popleft())
            self._wavers |= hit.unheld > 0
            return token_budget
        if found.blocks and self._pays_off(request, hit.blocks, found.blocks):
            if self._load(request, hit, found.blocks):
                return token_budget
        elif self._hold(self._gpu_cache, request, hit):
            self.waiting.popleft()
            return self._start(request, chunks, token_budget)
        self._wavers |= hit.unheld > 0
        return 0

    def _pays_off(self, request: Request, start: int, blocks: int) -> bool:
        if self._pays is None:
            return True
        end_ns = self.transfers.to_gpu.end_ns(self._now_ns, blocks)
        return self._pays(request, start, blocks, end_ns - self._now_ns)

    def _load(self, request: Request, hit: Hit, found: int) -> bool:
        """Whether there is room for what it found, beside what others need who load: then that is
        on its way."""
        if found + hit.unheld + self._reserved > self.blocks.free:
            return False
        if not self._hold(self._gpu_cache, request, hit):
            return False
        self.blocks.allocate(found)
        request.num_blocks += found
        loaded = found * self.limits.block_size
        request.num_computed_tokens += loaded
        if not request.num_preemptions:
            request.host_tokens = loaded
        self._due_ns[request] = self.transfers.load(request, hit.blocks, found, self._now_ns)
        self._reserved += self._remaining(request)
        self.loading.append(self.waiting.popleft())
        return True

    def _take_in(self, request: Request) -> None:
        """What it loaded can be found on the GPU now; it computes its last token in any case."""
        del self._due_ns[request]
        self.blocks.cache(request, request.num_blocks)
        request.num_computed_tokens = min(request.num_computed_tokens, request.num_tokens - 1)

    def _start(self, request: Request, chunks: list[Chunk], token_budget: int) -> int:
        """Compute a chunk of a request that fits. Returns what is left of the budget."""
        chunk = self._next_chunk(request, token_budget, self.blocks.free)
        if chunk is None:
            raise AssertionError(f"request {request.index} was let in and does not fit")
        self.running[request] = None
        chunks.append(chunk)
        return token_budget - chunk.new_tokens

    def _remaining(self, request: Request) -> int:
        return self.blocks.blocks_for(request.num_tokens) - request.num_blocks

    def _others_holding(self) -> Iterable[Request]:
        return self.loading

    def _offer(self, request: Request, tokens: int) -> None:
        """Offer the blocks of a prompt's first `tokens`, which this step computes at the latest."""
        run = self.transfers.offer(request, tokens // self.limits.block_size)
        if run is None:
            self._refused[request] = None
            return
        self._refused.pop(request, None)
        self._computing.append((request, run))

    def _close(self) -> None:
        """Let the tier know who is over."""
        for request in self._ended:
            self._offer(request, request.prompt_tokens)
        for request in self._ended:
            self._refused.pop(request, None)
            self.transfers.close(request)
        self._ended.clear()
