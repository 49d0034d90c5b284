"""vLLM's scheduler where a preempted request finds its own blocks again."""

from __future__ import annotations

from collections import deque

from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler


class RecallingBlocks(KvBlocks):
    """A pool that takes its longest-free blocks first, and knows which the preempted left.

    The free list is vLLM's: freed blocks queue at its end, those of one request from the last to
    the first, so that a request's first blocks outlive its later ones.
    """

    __slots__ = ("_queue",)

    def __init__(self, total: int, block_size: int) -> None:
        super().__init__(total, block_size)
        self._queue: deque[tuple[int | None, int]] = deque([(None, total)])

    def allocate(self, blocks: int) -> None:
        """Take `blocks` from the front of the free list: what they held is forgotten."""
        super().allocate(blocks)
        while blocks > 0:
            owner, free = self._queue.popleft()
            if free > blocks:
                self._queue.appendleft((owner, free - blocks))
            blocks -= free

    def release(self, blocks: int) -> None:
        """Give `blocks` back, at the end of the free list."""
        super().release(blocks)
        if blocks:
            self._queue.append((None, blocks))

    def remember(self, owner: int, blocks: int) -> None:
        """Of the blocks just released, the first `blocks` are a request's and hold its tokens."""
        _, released = self._queue.pop()
        if released > blocks:
            self._queue.append((None, released - blocks))
        if blocks:
            self._queue.append((owner, blocks))

    def recall(self, owner: int) -> int:
        """How many blocks of the request are left; the next to be allocated are these."""
        for index, (held, blocks) in enumerate(self._queue):
            if held == owner:
                del self._queue[index]
                self._queue.appendleft((None, blocks))
                return blocks
        return 0

    def check(self, held: int) -> None:
        """Raise if blocks were lost or doubled, or the free list does not add up."""
        super().check(held)
        listed = sum(blocks for _, blocks in self._queue)
        if listed != self.free:
            raise AssertionError(f"{listed} blocks in the free list, {self.free} free")


class RecallingScheduler(VllmScheduler):
    """vLLM V1 with its prefix cache, as far as preempted requests meet their own tokens in it.

    Prompts that several requests share are computed by each of them: workloads do not name them.
    """

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self._pool = RecallingBlocks(limits.num_blocks, limits.block_size)
        self.blocks = self._pool

    def _preempt_last(self) -> Request:
        victim = next(reversed(self.running))
        steps = 0 if victim is self.partial else self.group.steps
        computed = victim.num_computed_tokens if victim is self.partial else victim.base + steps
        super()._preempt_last()
        self._pool.remember(victim.index, computed // self.limits.block_size)
        return victim

    def _next_chunk(self, request: Request, token_budget: int, free: int) -> Chunk | None:
        if request.num_preemptions and not request.num_blocks:
            block_size = self.limits.block_size
            # vLLM computes one token at least, for its logits
            most = (request.num_tokens - 1) // block_size
            request.num_computed_tokens = block_size * min(self._pool.recall(request.index), most)
        return super()._next_chunk(request, token_budget, free)
