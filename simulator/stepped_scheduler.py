"""What a stepped scheduler keeps of its requests, and what it learns from a step's output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from servecast.simulator.cohort import Cohort, Said
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.request_queue import FcfsRequestQueue, PriorityRequestQueue, RequestQueue
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest

_APART_STEPS = 8
"""Passes over every request after a cohort had to part, or a request to give way."""


class SteppedScheduler(ABC):
    """The queues and the bookkeeping of vLLM's scheduler; a subclass decides who is computed."""

    def __init__(
        self, limits: SchedulerLimits, options: SteppedOptions, kv_cache_manager: KvCacheManager
    ) -> None:
        self.limits = limits
        self.options = options
        self.kv_cache_manager = kv_cache_manager
        self.running: list[SteppedRequest] = []
        self.cohort = Cohort(kv_cache_manager, options, limits.max_model_len)
        self.apart = self.running
        """Those who run outside the cohort: the same list, where that is empty."""
        self.by_priority = options.scheduling_policy == "priority"
        self.waiting: RequestQueue = (
            PriorityRequestQueue() if self.by_priority else FcfsRequestQueue()
        )
        self.current_step: int = 0
        self._max_model_len = limits.max_model_len
        self._block_size = kv_cache_manager.hash_block_size
        self._has_states = kv_cache_manager.has_states
        self._has_finished = False
        self._num_admitted = 0
        self._apart_until = 0
        """No cohort before this pass, since requests had to be looked at one by one."""
        self._next_drafts = 0
        self._draft_slots = options.draft_slots
        self._drafts_by_batch = options.drafts_by_batch(limits.max_num_seqs)
        self._padding = options.padding
        self._num_lookahead_tokens = options.num_lookahead_tokens

    @property
    def has_requests(self) -> bool:
        """Whether anybody is left, or somebody has finished since the last pass."""
        return bool(self.running or self.waiting or self._has_finished)

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request."""
        self.waiting.add_request(request)

    def gather(self) -> list[Said]:
        """Before a pass: let those be a cohort who can, and part one that cannot go on.

        What its members say in the step under way, if it parts.
        """
        cohort = self.cohort
        if not cohort.members:
            cohort.drafts, self.apart = self._next_drafts, self.running
        joining = self._joining()
        if not cohort.members and not joining:
            return []
        if self._has_room(max([cohort.last_order, *[each.order for each in joining]])):
            for request in joining:
                cohort.join(request)
            if joining:
                self.apart = [each for each in self.running if each not in cohort.members]
            return []
        self._apart_until = self.current_step + _APART_STEPS
        self.apart = self.running
        return cohort.part(self._next_drafts)

    @property
    def is_cohort(self) -> bool:
        """Whether all there are decode together, with as many drafts in the next steps."""
        cohort = self.cohort
        if self.waiting or self.apart or not cohort.members:
            return False
        drafts = self._drafts_by_batch[len(cohort.members)]
        return drafts == cohort.drafts and self._has_room(cohort.last_order)

    def pass_over(self) -> None:
        """A pass that has nothing to decide."""
        self.current_step += 1
        self._has_finished = False

    def _joining(self) -> list[SteppedRequest]:
        """Who could be members from the next step on."""
        cohort, threshold = self.cohort, self.options.long_prefill_token_threshold
        if self.current_step < self._apart_until or 0 < threshold <= cohort.drafts:
            return []
        return [request for request in self.apart if cohort.admits(request)]

    def _has_room(self, last_order: int) -> bool:
        """Whether all members, of whom none was admitted after `last_order`, get what they need in
        the next step, whoever else does.

        Those who are apart need at most what is counted here; of the budget those who were admitted
        later get what is left.
        """
        cohort, slots = self.cohort, self._draft_slots
        sequences, blocks = cohort.needs
        budget = self.limits.max_num_batched_tokens - slots
        left = budget - sequences * (cohort.drafts + 1 + slots)
        for request in self.apart:
            known = request.num_tokens + request.num_spec_tokens + request.num_output_placeholders
            wanted = known - request.num_computed_tokens
            room = min(wanted, budget) + self._num_lookahead_tokens
            blocks += -(-room // self._block_size) + 1
            if request.order <= last_order:
                left -= wanted + slots
        return (
            self._next_drafts == cohort.drafts
            and left >= 0
            and blocks <= self.kv_cache_manager.pool.free
        )

    @abstractmethod
    def schedule(self) -> SchedulerPass:
        """One pass: who is computed in the next step, how many tokens of each, who is preempted."""

    def update_from_output(
        self, decided: SchedulerPass, said: Sequence[int], ended: Sequence[SteppedRequest]
    ) -> list[tuple[SteppedRequest, int]]:
        """Take in how many tokens came out of each request of a step, and who `ended` by them.

        Returns whose tokens these are news of, with their number: not who has finished before.
        """
        heard: list[tuple[SteppedRequest, int]] = []
        drafts = decided.scheduled_spec_tokens
        for (request, scheduled), new_tokens in zip(
            decided.num_scheduled_tokens.items(), said, strict=True
        ):
            request.num_in_flight_tokens -= scheduled
            is_stale = request.num_stale_output_tokens > 0
            if is_stale:
                request.num_stale_output_tokens -= scheduled
            if not new_tokens or request.is_finished:
                continue
            if request in drafts and not is_stale:
                self._roll_back(request, drafts[request] - (new_tokens - 1))
            self._update_request_with_output(request, new_tokens, is_stale=is_stale)
            heard.append((request, new_tokens))
            if request in ended:
                self._finish(request)
        return heard

    def update_draft_tokens(self, decided: SchedulerPass) -> None:
        """Take in that there are drafts for all who decode of a step that has been computed."""
        drafts = decided.num_spec_tokens_to_schedule
        for request in decided.num_scheduled_tokens:
            request.num_spec_tokens = 0 if request.is_prefill_chunk else drafts

    def _start(self, request: SteppedRequest, computed: int) -> None:
        self.running.append(request)
        if self.apart is not self.running:
            self.apart.append(request)
        self._num_admitted += 1
        request.order = self._num_admitted
        request.is_running = True
        request.num_computed_tokens = computed
        if not request.request.num_preemptions:
            request.request.cached_tokens = computed

    def _preempt_request(self, request: SteppedRequest) -> None:
        self.kv_cache_manager.free(request)
        request.is_running = False
        request.num_computed_tokens = 0
        request.num_spec_tokens = 0
        request.settled_tokens = 0
        request.num_stale_output_tokens = request.num_in_flight_tokens
        request.num_output_placeholders = 0
        request.request.num_preemptions += 1
        self._apart_until = self.current_step + _APART_STEPS
        self.waiting.prepend_request(request)

    def _update_after_schedule(self, decided: SchedulerPass) -> None:
        """Count what is scheduled as computed; rejected drafts are taken back later."""
        for request, tokens in decided.num_scheduled_tokens.items():
            request.num_computed_tokens += tokens
            request.num_in_flight_tokens += tokens
            known = request.num_tokens + request.num_output_placeholders
            request.is_prefill_chunk = request.num_computed_tokens < known
        drafts = self._drafts_by_batch[decided.num_requests]
        decided.num_spec_tokens_to_schedule = self._next_drafts = drafts
        self._has_finished = False

    def _roll_back(self, request: SteppedRequest, rejected: int) -> None:
        if request.num_computed_tokens > 0:
            request.num_computed_tokens -= rejected
        if request.num_output_placeholders > 0:
            request.num_output_placeholders -= rejected

    def _update_request_with_output(
        self, request: SteppedRequest, new_tokens: int, *, is_stale: bool
    ) -> None:
        request.num_tokens += new_tokens

    def _finish(self, request: SteppedRequest) -> None:
        request.is_finished = True
        self.kv_cache_manager.free(request)
        if request.is_running:
            self.running.remove(request)
            if self.apart is not self.running and request in self.apart:
                self.apart.remove(request)
        else:
            self.waiting.remove_request(request)
        self._has_finished = True
