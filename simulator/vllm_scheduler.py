"""The scheduler of vLLM V1 (0.32, synchronous), in the order of its own decisions.

Lay it beside `vllm/v1/core/sched/scheduler.py`: running requests first, each one token or the rest
of its prompt, in order of admission; a request that finds no block preempts the last one admitted;
then, if nobody was preempted, waiting requests in order of arrival while the token budget, the
number of sequences and the KV blocks allow (a prompt is admitted only if the whole of it fits).

What is different is bookkeeping only: decoding requests are a group that advances in O(1).
"""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler


class VllmScheduler(Scheduler):
    """vLLM V1: chunked prefill mixed with decodes, first come first served, recompute."""

    def admits_on_arrival(self) -> bool:
        """Whether the request just queued is first in line and a place is free.

        Then there is budget too, as it is never below `max_num_seqs`.
        """
        return len(self.waiting) == 1 and len(self.running) < self.limits.max_num_seqs

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
