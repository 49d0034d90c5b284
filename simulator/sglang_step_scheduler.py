"""What SGLang decides where it drafts, pass by pass, for an engine that takes every step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from servecast.errors import ServecastError
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.sglang_drafting_scheduler import SglangDraftingScheduler
from servecast.simulator.stepped_request import SteppedRequest


class SglangStepScheduler:
    """Passes on the decisions of `SglangDraftingScheduler`, and the tokens of a step to it.

    Tokens are read in the order of the batch; those of who was retracted meanwhile never are.
    """

    def __init__(
        self, limits: SchedulerLimits, speculation: Speculation, policy: SglangPolicy
    ) -> None:
        self.limits = limits
        self._drafts = speculation.num_speculative_tokens
        self.scheduler = SglangDraftingScheduler(
            limits,
            self._drafts,
            policy.schedule_policy,
            policy.schedule_conservativeness,
            uses_hidden_states=speculation.uses_hidden_states,
        )
        self._known: dict[Request, SteppedRequest] = {}
        self._under_way: deque[SchedulerPass] = deque()
        self._dropped: set[SteppedRequest] = set()
        """Who was retracted while a step was under way."""

    @property
    def has_requests(self) -> bool:
        """Whether anybody is left."""
        return bool(self._known)

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request; InputError for a prompt that the pool cannot hold."""
        self.scheduler.add_request(request.request)
        self._known[request.request] = request

    def schedule(self) -> SchedulerPass:
        """One pass: who is computed in the next step, how many tokens of each, who is retracted."""
        unread = self._under_way[-1].num_scheduled_tokens if self._under_way else {}
        continued = self.scheduler.partial
        chunks, retracted = self.scheduler.decide({each.request for each in unread})
        decided = SchedulerPass(self.limits.max_num_batched_tokens, 0)
        for chunk in chunks:
            self._add(decided, chunk, is_new=chunk.request is not continued)
        if self.scheduler.is_decoding:
            self._add_decoding(decided)
        for request in retracted:
            decided.preempted.append(self._known[request])
            self._dropped.add(self._known[request])
        if decided.num_scheduled_tokens:
            self._under_way.append(decided)
        elif not self._under_way:
            raise ServecastError(f"nobody of {len(self._known)} requests can be computed")
        return decided

    def update_from_output(
        self, decided: SchedulerPass, said: Sequence[int], ended: Sequence[SteppedRequest]
    ) -> list[tuple[SteppedRequest, int]]:
        """Take in how many tokens came out of each request of the oldest step, and who `ended`.

        Returns whose tokens these are news of, with their number.
        """
        self._under_way.popleft()
        heard: list[tuple[SteppedRequest, int]] = []
        last, drafts = set(ended), decided.scheduled_spec_tokens
        for request, tokens in zip(decided.num_scheduled_tokens, said, strict=True):
            if tokens and not request.is_finished and request not in self._dropped:
                self._read(request, tokens, drafts=request in drafts, is_last=request in last)
                heard.append((request, tokens))
        self._dropped.clear()
        return heard

    def _add(self, decided: SchedulerPass, chunk: Chunk, *, is_new: bool) -> None:
        """Schedule a prompt chunk; where the prompt begins, it is of what is known."""
        request = self._known[chunk.request]
        request.num_computed_tokens = chunk.past_tokens + chunk.new_tokens
        if is_new:
            request.said = chunk.request.num_tokens
            decided.placed.append(request)
        decided.add(request, chunk.new_tokens)

    def _add_decoding(self, decided: SchedulerPass) -> None:
        """Schedule all who decode, with their drafts, in the order of the batch."""
        for request in self.scheduler.running:
            if request in self.scheduler.members:
                decided.add(self._known[request], 1 + self._drafts)
                decided.scheduled_spec_tokens[self._known[request]] = self._drafts

    def _read(self, request: SteppedRequest, tokens: int, *, drafts: bool, is_last: bool) -> None:
        """Take in a request's tokens: after its prompt one, or those accepted and one more."""
        own = request.request
        self.scheduler.read(own, tokens, tokens if drafts else 0)
        if is_last:
            request.is_finished = True
            del self._known[own]
            self.scheduler.finish(own, decoding=drafts)
        elif not drafts:
            self.scheduler.keep(own)
