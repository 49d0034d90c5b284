"""The scheduler of SGLang by its simple rules: prompts first, decodes wait.

What is simplified: SGLang guesses how much of the declared output will come and takes running
requests back where the guess was too low; here the whole is set aside, so nobody is taken back.
Prefix reuse, mixed chunks, and priorities other than first come first served are not here.
"""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.reserving_scheduler import ReservingScheduler
from servecast.simulator.scheduler import Chunk


class SglangScheduler(ReservingScheduler):
    """Simple rules of SGLang: while any prompt can be computed, only prompts are.

    `max_num_batched_tokens` is its chunked prefill size: what a step of prompts computes in all.
    The last prompt of a step may be cut, and goes on in the next one before any other.
    """

    mixes_decodes = False

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of a step without decodes, or none; nobody is preempted."""
        chunks: list[Chunk] = []
        token_budget = self.limits.max_num_batched_tokens
        if self.partial is not None:
            chunk = self._next_chunk(self.partial, token_budget, self.blocks.free)
            if chunk is not None:
                chunks.append(chunk)
                token_budget -= chunk.new_tokens
        while token_budget > 0 and self.waiting and self._has_place(self.waiting[0]):
            chunk = self._admit(token_budget)
            if chunk is None:
                break
            chunks.append(chunk)
            token_budget -= chunk.new_tokens
        return chunks, []
