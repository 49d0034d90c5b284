"""The same scheduler with asynchronous scheduling."""

from __future__ import annotations

from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.stepped_request import SteppedRequest
from servecast.simulator.vllm_stepped_scheduler import VllmSteppedScheduler


class VllmSteppedAsyncScheduler(VllmSteppedScheduler):
    """Schedules the next step while this one computes, with placeholders for what it will say."""

    def _num_new_tokens(self, request: SteppedRequest, budget: int, threshold: int) -> int:
        placeholders = request.num_output_placeholders
        if (
            placeholders > 0
            and request.num_computed_tokens + 2 - placeholders >= request.allowed_tokens
        ):
            return 0  # the step under way brings the last token that is allowed
        if self.current_step < request.next_decode_eligible_step:
            return 0  # each stage of a pipeline has another batch of those who decode
        return super()._num_new_tokens(request, budget, threshold)

    def _update_after_schedule(self, decided: SchedulerPass) -> None:
        super()._update_after_schedule(decided)
        eligible = self.current_step + self.options.pipeline_parallel_size
        drafts = decided.scheduled_spec_tokens
        for request in decided.num_scheduled_tokens:
            if not request.is_prefill_chunk:
                request.num_output_placeholders += 1 + drafts.get(request, 0)
                request.num_spec_tokens = decided.num_spec_tokens_to_schedule
                request.next_decode_eligible_step = eligible

    def _update_request_with_output(
        self, request: SteppedRequest, new_tokens: int, *, is_stale: bool
    ) -> None:
        super()._update_request_with_output(request, new_tokens, is_stale=is_stale)
        if not is_stale:
            request.num_output_placeholders -= new_tokens
        if request.is_running:
            known = request.num_computed_tokens - request.num_output_placeholders
            if known // self._block_size > (known - new_tokens) // self._block_size:
                self.kv_cache_manager.cache_blocks(request, known)
