"""The scheduler of Sarathi-Serve: decodes never stall, prompts take what the token budget leaves.

Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve" (OSDI
2024), algorithm 3. Never laid beside its implementation: *unverified*.
"""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk
from servecast.simulator.vllm_scheduler import VllmScheduler


class SarathiScheduler(VllmScheduler):
    """Decodes first, then the prompt computed in part, then new ones, up to the token budget.

    So far it is what vLLM made of it. But blocks for the whole prompt are taken with its first
    chunk, as by the paged allocator of that time, not chunk by chunk. Where blocks run out, the
    last admitted gives way and is computed again, which the paper leaves to that allocator.
    """

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of the next step beside the decode group, the preempted."""
        needed = self.group.blocks_needed(1)
        preempted: list[Request] = []
        if needed > self.blocks.free:
            preempted = self._preempt_for_decode()
        elif needed:
            self.blocks.allocate(needed)
            self._drawn = needed
        chunks: list[Chunk] = []
        token_budget = self.limits.max_num_batched_tokens - self.group.size
        if self.partial is not None:
            chunk = self._next_chunk(self.partial, token_budget, self.blocks.free)
            if chunk is not None:
                chunks.append(chunk)
                token_budget -= chunk.new_tokens
        if not preempted:
            self._admit(chunks, token_budget)
        return chunks, preempted

    def _next_chunk(self, request: Request, token_budget: int, free: int) -> Chunk | None:
        past = request.num_computed_tokens
        blocks = self.blocks.blocks_for(request.num_tokens) - request.num_blocks
        if blocks > free:
            return None
        self.blocks.allocate(blocks)
        request.num_blocks += blocks
        return Chunk(request, min(request.num_tokens - past, token_budget), past)

    def _held_tokens(self, request: Request) -> int:
        return request.num_tokens
