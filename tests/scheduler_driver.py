"""A scheduler without an engine: no time, no cost, and no request that knows its own end."""

from __future__ import annotations

from collections.abc import Callable

from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler


class SchedulerDriver:
    """Adds requests to a scheduler and takes its steps, one by one.

    How much a request will emit is kept here; the request that the scheduler is given lacks the
    attribute, so reading it raises AttributeError.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        policy: Callable[[SchedulerLimits], Scheduler] = VllmScheduler,
    ) -> None:
        self.scheduler = policy(limits)
        self.preempted: list[int] = []
        """In the latest step, in that order."""
        self._output_tokens: list[int] = []
        self._chunks: list[Chunk] = []
        self._decoding: list[Request] = []
        self._steps = 0

    @property
    def running(self) -> list[int]:
        """Who runs, in order of admission."""
        return [request.index for request in self.scheduler.running]

    @property
    def waiting(self) -> list[int]:
        """Who waits, the next first."""
        return [request.index for request in self.scheduler.waiting]

    def add(self, prompt_tokens: int, output_tokens: int) -> None:
        """Queue a request; the first one has index 0."""
        max_tokens = self.scheduler.limits.max_model_len - prompt_tokens
        request = Request(len(self._output_tokens), 0, prompt_tokens, output_tokens, max_tokens)
        del request.output_tokens
        self._output_tokens.append(output_tokens)
        self.scheduler.add_request(request)

    def step(self) -> dict[int, int]:
        """Schedule and take a step: the tokens it computes of each request."""
        tokens = self.schedule()
        self.update()
        return tokens

    def schedule(self) -> dict[int, int]:
        """Decide the next step: the tokens it will compute of each request.

        Raises when there were more steps than `max_model_len` a request (law 12).
        """
        self._steps += 1
        if self._steps > len(self._output_tokens) * self.scheduler.limits.max_model_len:
            raise AssertionError(f"requests {self.running + self.waiting} never finish")
        self._chunks, preempted = self.scheduler.schedule()
        self.preempted = [request.index for request in preempted]
        filling = {chunk.request for chunk in self._chunks}
        self._decoding = [r for r in self.scheduler.running if r not in filling]
        tokens = {request.index: 1 for request in self._decoding}
        return tokens | {chunk.request.index: chunk.new_tokens for chunk in self._chunks}

    def update(self) -> None:
        """Take the step that was decided."""
        scheduler = self.scheduler
        scheduler.advance(1)
        for request in self._decoding:
            emitted = request.base + scheduler.group.steps + 1 - request.prompt_tokens
            if emitted == self._output_tokens[request.index]:
                scheduler.finish(request, decoding=True)
        for chunk in self._chunks:
            if scheduler.update(chunk):
                self._speak(chunk.request)
        scheduler.check()

    def _speak(self, request: Request) -> None:
        if request.emitted == self._output_tokens[request.index]:
            self.scheduler.finish(request, decoding=False)
        else:
            self.scheduler.group.join(request)
