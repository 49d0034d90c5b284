"""The scheduler of vLLM V1 (0.32), one pass a step, in the order of its own decisions.

Lay it beside `vllm/v1/core/sched/scheduler.py`: names are the same. A request has tokens that are
computed, tokens that are known, and drafts; each pass lets the first catch up with the others. So
chunks of prompts, decoding, verified drafts and batches under way are one and the same.
"""

from __future__ import annotations

from collections import deque

from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.stepped_request import SteppedRequest
from servecast.simulator.stepped_scheduler import SteppedScheduler


class VllmSteppedScheduler(SteppedScheduler):
    """What vLLM decides without asynchronous scheduling."""

    def schedule(self) -> SchedulerPass:
        """One pass: who is computed in the next step, how many tokens of each, who is preempted."""
        self.current_step += 1
        self.kv_cache_manager.new_step_starts()
        decided = SchedulerPass(self.limits.max_num_batched_tokens, self._draft_slots)
        threshold = self._long_prefill_token_threshold()
        together = self.cohort.schedule() if self.cohort.members else None
        if together is not None:
            decided.add_cohort(together)
        self._schedule_running(decided, threshold)
        if not decided.preempted:
            self._schedule_waiting(decided, threshold)
        self.kv_cache_manager.new_step_ends()
        self._update_after_schedule(decided)
        return decided

    def _long_prefill_token_threshold(self) -> int:
        """0 where there is none: a request that is alone may fill a step."""
        threshold = self.options.long_prefill_token_threshold
        requests = len(self.running) + len(self.waiting)
        if requests <= 1:
            return 0
        if threshold and self.options.long_prefill_token_threshold_adaptive:
            return max(threshold, self.limits.max_num_batched_tokens // requests)
        return threshold

    def _schedule_running(self, decided: SchedulerPass, threshold: int) -> None:
        running = self.apart  # all of them, unless some are in the cohort
        while decided.req_index < len(running) and decided.budget > 0:
            request = running[decided.req_index]
            new_tokens = self._num_new_tokens(request, decided.budget, threshold)
            if new_tokens:
                settled = request.num_computed_tokens + new_tokens <= request.settled_tokens
                if not settled and not self._allocate_or_preempt(request, new_tokens, decided):
                    return
                decided.prefill_scheduled |= request.is_prefill_chunk
                decided.add(request, new_tokens)
                if request.num_spec_tokens:
                    self._schedule_spec_tokens(request, new_tokens, decided)
            decided.req_index += 1

    def _num_new_tokens(self, request: SteppedRequest, budget: int, threshold: int) -> int:
        """How many tokens of a running request are computed; 0 where it is passed over."""
        computed = request.num_computed_tokens
        new_tokens = (
            request.num_tokens
            + request.num_spec_tokens
            + request.num_output_placeholders
            - computed
        )
        if 0 < threshold < new_tokens:
            new_tokens = threshold
        if new_tokens > budget:
            new_tokens = budget
        if computed + new_tokens >= self._max_model_len:
            new_tokens = self._max_model_len - computed - 1
        return self._block_aligned_split(request, new_tokens) if self._has_states else new_tokens

    def _block_aligned_split(
        self, request: SteppedRequest, new_tokens: int, computed: int = 0
    ) -> int:
        return self.kv_cache_manager.block_aligned_split(
            request,
            new_tokens,
            num_new_computed_tokens=computed,
            max_num_scheduled_tokens=self.limits.max_num_batched_tokens,
        )

    def _allocate_or_preempt(
        self, request: SteppedRequest, new_tokens: int, decided: SchedulerPass
    ) -> bool:
        """Whether the request gets its slots, for which others may have to give way."""
        manager, lookahead = self.kv_cache_manager, self._num_lookahead_tokens
        while not manager.allocate_slots(request, new_tokens, num_lookahead_tokens=lookahead):
            victim = self._pop_victim(decided)
            self._preempt_request(victim)
            decided.preempted.append(victim)
            if victim is request:
                return False
        request.settled_tokens = manager.settled_tokens(request, lookahead)
        return True

    def _pop_victim(self, decided: SchedulerPass) -> SteppedRequest:
        """Take the last admitted, or the least urgent, from those who run."""
        running = self.running
        if not self.by_priority:
            return running.pop()
        victim = max(running, key=lambda r: (r.request.priority, r.request.arrival_ns))
        place = running.index(victim)
        del running[place]
        if place < decided.req_index:
            decided.req_index -= 1
        decided.take_back(victim)
        return victim

    def _schedule_spec_tokens(
        self, request: SteppedRequest, new_tokens: int, decided: SchedulerPass
    ) -> None:
        scheduled = (
            new_tokens
            + request.num_computed_tokens
            - request.num_tokens
            - request.num_output_placeholders
        )
        if scheduled > 0:
            decided.scheduled_spec_tokens[request] = min(scheduled, request.num_spec_tokens)
        request.num_spec_tokens = 0

    def _schedule_waiting(self, decided: SchedulerPass, threshold: int) -> None:
        waiting, running = self.waiting, self.running
        others_run = decided.num_requests > 0
        skipped: deque[SteppedRequest] = deque()
        while waiting and decided.budget > 0 and len(running) < self.limits.max_num_seqs:
            request = waiting.peek_request()
            if request.num_stale_output_tokens:  # what it said before is still under way
                skipped.appendleft(waiting.pop_request())
            elif not self._admit(request, decided, threshold, others_run=others_run):
                break
        waiting.prepend_requests(skipped)

    def _admit(
        self, request: SteppedRequest, decided: SchedulerPass, threshold: int, *, others_run: bool
    ) -> bool:
        """Whether the first in line fits: all of it, though it may compute less of it now."""
        computed_blocks, computed = self.kv_cache_manager.get_computed_blocks(request)
        new_tokens, drafts = request.num_tokens - computed, 0
        if self._is_padded(new_tokens, computed, decided, others_run=others_run):
            drafts = self._padding
            new_tokens += drafts
            if new_tokens > decided.budget:
                return False
        if 0 < threshold < new_tokens:
            new_tokens = threshold
        new_tokens = self._block_aligned_split(request, min(new_tokens, decided.budget), computed)
        if not new_tokens or not self.kv_cache_manager.allocate_slots(
            request,
            new_tokens,
            num_new_computed_tokens=computed,
            new_computed_blocks=computed_blocks,
            num_lookahead_tokens=self._num_lookahead_tokens,
            full_sequence_must_fit=True,
        ):
            return False
        self._start(self.waiting.pop_request(), computed)
        decided.add(request, new_tokens)
        decided.placed.append(request)
        if drafts:
            decided.scheduled_spec_tokens[request] = drafts
        return True

    def _is_padded(
        self, new_tokens: int, computed: int, decided: SchedulerPass, *, others_run: bool
    ) -> bool:
        """Whether a single token is made as wide as a step that verifies drafts."""
        return (
            self._padding > 0
            and new_tokens == 1
            and not decided.prefill_scheduled
            and (others_run or computed > 0)
            and computed + self._padding + 2 <= self.limits.max_model_len
        )
