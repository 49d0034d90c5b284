"""What a real engine's scheduler hands over, read as the work of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from servecast.timewarp.recorded_work import StepWork, pairs


class NewRequest(Protocol):
    """What is read of a request that the workers have no state of."""

    req_id: str
    prompt_token_ids: Sequence[int] | None
    num_computed_tokens: int


class KnownRequests(Protocol):
    """What is read of the requests that the workers have seen before."""

    req_ids: Sequence[str]
    resumed_req_ids: set[str]
    num_computed_tokens: Sequence[int]
    num_output_tokens: Sequence[int]


class SchedulerOutput(Protocol):
    """What is read of vLLM's `SchedulerOutput`."""

    scheduled_new_reqs: Sequence[NewRequest]
    scheduled_cached_reqs: KnownRequests
    num_scheduled_tokens: Mapping[str, int]
    finished_req_ids: set[str]


class RecorderRequests:
    """Remembers how long prompts are, which the scheduler says once."""

    def __init__(self) -> None:
        self._prompts: dict[str, int] = {}
        self._filled: dict[str, int] = {}
        """Tokens in the cache from which on a request decodes."""

    def work(self, scheduled: SchedulerOutput) -> StepWork:
        """What the step computes."""
        for request_id in scheduled.finished_req_ids:
            self._prompts.pop(request_id, None)
            self._filled.pop(request_id, None)
        contexts: list[int] = []
        queries = prompts = new_tokens = past_tokens = attended = 0
        for request_id, past in self._placed(scheduled):
            tokens = scheduled.num_scheduled_tokens.get(request_id, 0)
            if past >= self._filled.get(request_id, 0):
                contexts.append(past)
                queries += tokens
            else:
                prompts += 1
                new_tokens += tokens
                past_tokens += past
                attended += pairs(tokens, past)
        longest = max(contexts, default=0)
        sums = len(contexts), queries, sum(contexts), longest
        return StepWork(*sums, prompts, new_tokens, past_tokens, attended)

    def _placed(self, scheduled: SchedulerOutput) -> Iterator[tuple[str, int]]:
        """Each request of the step, with the tokens that are in the cache before it."""
        for new in scheduled.scheduled_new_reqs:
            self._prompts[new.req_id] = len(new.prompt_token_ids or ())
            self._filled[new.req_id] = self._prompts[new.req_id]
            yield new.req_id, new.num_computed_tokens
        known = scheduled.scheduled_cached_reqs
        rows = zip(known.req_ids, known.num_computed_tokens, known.num_output_tokens, strict=True)
        for request_id, past, said in rows:
            if request_id in known.resumed_req_ids:  # after a preemption all it had is computed
                self._filled[request_id] = self._prompts.get(request_id, 0) + said
            yield request_id, past
