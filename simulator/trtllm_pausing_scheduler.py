"""The scheduler of TensorRT-LLM's in-flight batching under MAX_UTILIZATION: *unverified*.

From public behaviour alone (its documentation of 1.0 and what its open scheduler decides): the
engine cannot run here, so nothing was laid beside it. A request starts where its prompt fits now;
when blocks run out, the last one started is paused: it loses its blocks and waits in front of all
others, and nobody starts in that step. It goes on with prompt and output so far as its prompt.

What is simplified: KV reuse and beams are not here. Without chunked context TensorRT-LLM forgets of
a paused request what exceeds a step and computes it again; here such requests are refused.
"""

from __future__ import annotations

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.trtllm_scheduler import chunk_tokens, chunk_unit


class TrtllmPausingScheduler(SarathiScheduler):
    """Memory as in Sarathi-Serve; prompts are computed in whole, or cut to whole blocks.

    `max_num_batched_tokens` is its `max_num_tokens`: what a step computes in all, decodes included.
    """

    def __init__(self, limits: SchedulerLimits, *, chunked_context: bool = False) -> None:
        """With a `chunked_context` a prompt is cut where a step has no room for all of it."""
        super().__init__(limits)
        self._unit = chunk_unit(limits) if chunked_context else None

    def add_request(self, request: Request) -> None:
        """Queue a request; InputError for one that, once paused, no step could compute in whole."""
        limits = self.limits
        longest = min(request.prompt_tokens + request.max_tokens, limits.max_model_len) - 1
        if self._unit is None and longest > limits.max_num_batched_tokens:
            raise InputError(
                f"a request of up to {longest} tokens exceeds max_num_tokens "
                f"{limits.max_num_batched_tokens}, and once paused it is computed again in whole",
                hint=f"set max_num_tokens to {longest} or more, or enable_chunked_prefill",
            )
        super().add_request(request)

    def _next_chunk(self, request: Request, token_budget: int, free: int) -> Chunk | None:
        rest = request.num_tokens - request.num_computed_tokens
        tokens = chunk_tokens(rest, token_budget, self._unit)
        return super()._next_chunk(request, tokens, free) if tokens else None
