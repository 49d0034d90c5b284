"""One pass of vLLM's scheduler for many decode steps, with the decisions of one pass a step.

A request in plain decode gets a *block credit*: the tokens that still fit into its KV block, in one
pass, by the engine's own path for speculative tokens. It is then out of the way, by the engine's
own throttle of pipeline parallelism, until its credit is used up. So every block is taken from the
pool in the very pass in which plain stepping takes it, and in the same order.

Lookups, admissions and budgets stay in their own passes. Where nobody but the credited would be
scheduled, a pass stands for as many steps as can decide nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from servecast.errors import ServecastError
from servecast.timewarp.foreign import foreign
from servecast.timewarp.serving import Serving


class CreditBrokenError(ServecastError):
    """A preemption met an open credit: the run is not exact, and plain stepping has to repeat it.

    The user never sees it.
    """


class BlockCredits:
    """What comes before and after a pass of a vLLM scheduler, which supplies all the rest."""

    serving: Serving
    requests: dict[str, Any]
    running: list[Any]
    waiting: Any
    current_step: int
    max_num_running_reqs: int
    max_num_scheduled_tokens: int
    scheduler_config: Any
    cache_config: Any
    kv_cache_manager: Any

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._block_size: int = self.cache_config.block_size
        self._base = foreign("vllm.v1.core.sched.scheduler").Scheduler
        self._candidates: list[Any] = []
        """Who decoded in the pass before, a single token."""
        self._open: dict[int, list[Any]] = {}
        """Whose credit is used up, by the step in which they are scheduled again."""
        self._granted: dict[str, int] = {}
        """Tokens of this pass, by id."""
        self.serving.skip_steps = self._skip_steps

    def schedule(self, *given: object) -> Any:
        """A pass in which those who decode may get several tokens."""
        step = self.current_step + 1
        self._cache_full_blocks(self._open.get(step + 1, ()))
        self._granted = self._grant([*self._candidates, *self._open.pop(step, ())])
        extra = sum(self._granted.values()) - len(self._granted)
        output = self._pass(extra - self.serving.device.riders.count, given)
        for request_id, tokens in self._granted.items():
            request = self.requests[request_id]
            request.next_decode_eligible_step = step + tokens
            self._open.setdefault(step + tokens, []).append(request)
        output.scheduled_spec_decode_tokens.clear()
        others = [self.requests[i] for i in output.num_scheduled_tokens if i not in self._granted]
        self._candidates = [request for request in others if not request.is_prefill_chunk]
        return output

    def _pass(self, extra_tokens: int, given: tuple[object, ...]) -> Any:
        """The engine's own pass, with the budget that prompts would see in plain stepping."""
        config = self.scheduler_config
        budgets = self.max_num_scheduled_tokens, config.max_num_batched_tokens
        self.max_num_scheduled_tokens += extra_tokens
        config.max_num_batched_tokens += extra_tokens
        try:
            return self._super.schedule(*given)
        finally:
            self.max_num_scheduled_tokens, config.max_num_batched_tokens = budgets

    @property
    def _super(self) -> Any:
        return super()

    def _grant(self, candidates: list[Any]) -> dict[str, int]:
        """Who gets how many tokens: up to the block's end, and never the last of a request."""
        granted: dict[str, int] = {}
        if candidates and self._has_room():
            for request in candidates:
                served = self.serving.requests[request.request_id]
                left = served.request.output_tokens - served.request.emitted
                tokens = self._block_size - request.num_computed_tokens % self._block_size
                tokens = min(tokens, left - 1)
                if tokens > 1:
                    request.spec_token_ids = [-1] * (tokens - 1)
                    granted[request.request_id] = tokens
        return granted

    def _has_room(self) -> bool:
        """Whether nobody will be preempted before a credit granted now is used up.

        All who run, and all who may be admitted meanwhile, could need two more blocks. It is an
        estimate where arrivals are concerned, and `_preempt_request` sees where it was wrong.
        """
        size, device = self._block_size, self.serving.device
        places = self.max_num_running_reqs - len(self.running)
        until_ns = device.clock.now_ns() + 2 * size * device.step_ns
        prompts = [request.num_tokens for request in islice(self.waiting, places)]
        prompts += islice(self.serving.arrivals.coming(until_ns), places)
        needed = sum(-(-tokens // size) for tokens in prompts)
        needed += 2 * (len(self.running) + len(prompts))
        return bool(self.kv_cache_manager.block_pool.get_num_free_blocks() >= needed)

    def _cache_full_blocks(self, filled: Any) -> None:
        """Let the prefix cache know the blocks whose last token is computed in this pass.

        A synchronous scheduler says so when it schedules that token; an asynchronous one does not
        know the token yet, and says so in the request's next pass.
        """
        if self.cache_config.enable_prefix_caching and not self.scheduler_config.async_scheduling:
            for request in filled:
                self.kv_cache_manager.cache_blocks(request, request.num_computed_tokens)

    def _skip_steps(self, steps: int) -> None:
        """A pass stood for so many more steps."""
        self.current_step += steps

    def _update_request_with_output(
        self, request: Any, new_token_ids: list[int], is_stale: bool = False
    ) -> Any:
        """Tokens of a credit come all at once; the block they fill is not complete yet."""
        if len(new_token_ids) == 1:
            return self._super._update_request_with_output(request, new_token_ids, is_stale)
        if request.num_output_placeholders:
            request.num_output_placeholders -= len(new_token_ids)
        return self._base._update_request_with_output(self, request, new_token_ids)

    def _preempt_request(self, request: Any, *args: object, **kwargs: object) -> None:
        if self._granted or request.next_decode_eligible_step > self.current_step:
            raise CreditBrokenError("a preemption met an open credit")
        self._super._preempt_request(request, *args, **kwargs)


def credit_class(base: type[Any], serving: Serving) -> type[Any]:
    """The scheduler class `base` with block credits."""
    return type("BlockCreditScheduler", (BlockCredits, base), {"serving": serving})
