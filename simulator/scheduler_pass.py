"""One pass of a stepped scheduler: its budget, and what it decides."""

from __future__ import annotations

from servecast.simulator.cohort import CohortStep
from servecast.simulator.stepped_request import SteppedRequest


class SchedulerPass:
    """What vLLM calls the scheduler's output, with the budget that is left meanwhile."""

    __slots__ = (
        "_draft_slots",
        "budget",
        "cohort",
        "num_scheduled_tokens",
        "num_spec_tokens_to_schedule",
        "placed",
        "preempted",
        "prefill_scheduled",
        "req_index",
        "scheduled_spec_tokens",
    )

    def __init__(self, max_num_batched_tokens: int, draft_slots: int) -> None:
        """Each request takes `draft_slots` beside its tokens; so a step never has more of these."""
        self._draft_slots = draft_slots
        self.budget = max_num_batched_tokens - draft_slots
        """How many tokens of one request more may be scheduled."""
        self.cohort: CohortStep | None = None
        """Those who decode together, of whom nothing else is said here."""
        self.req_index = 0
        """Place among those who run of the one looked at."""
        self.num_scheduled_tokens: dict[SteppedRequest, int] = {}
        self.scheduled_spec_tokens: dict[SteppedRequest, int] = {}
        """Drafts among them."""
        self.num_spec_tokens_to_schedule = 0
        """Drafts that are made after it for each request that decodes."""
        self.placed: list[SteppedRequest] = []
        """Who begins, or begins again."""
        self.preempted: list[SteppedRequest] = []
        self.prefill_scheduled = False
        """Whether one of those who ran before computes its prompt."""

    def add(self, request: SteppedRequest, tokens: int) -> None:
        """Schedule `tokens` of a request."""
        self.num_scheduled_tokens[request] = tokens
        self.budget -= tokens + self._draft_slots

    def add_cohort(self, step: CohortStep) -> None:
        """Schedule those who decode together."""
        self.cohort = step
        self.budget -= step.sequences * (step.query_tokens + self._draft_slots)

    @property
    def num_requests(self) -> int:
        """How many are scheduled."""
        together = self.cohort.sequences if self.cohort else 0
        return len(self.num_scheduled_tokens) + together

    def take_back(self, request: SteppedRequest) -> None:
        """Undo `add`, where that was done for this request."""
        tokens = self.num_scheduled_tokens.pop(request, None)
        if tokens is not None:
            self.budget += tokens + self._draft_slots
            self.scheduled_spec_tokens.pop(request, None)
