"""The scheduler of SGLang (0.5.23) in its loop with overlap."""

from __future__ import annotations

from collections.abc import Iterable

from servecast.primitives.policy import SglangSchedulePolicy
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler


class SglangOverlapScheduler(SglangEngineScheduler):
    """Decides a step while the one before it computes, whose tokens it has not read yet.

    So it counts what a request has said without them, finds a prompt once its last chunk has been
    read, and computes once more whoever turns out to have ended; but for those whose unread token
    is the last one declared, which are passed over. A token of who is retracted is never read.

    Its engine lets the group advance and the prompts complete, asks for the next pass, and then
    reads: `read_prompt` and `finish`, and at last `has_read`.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        schedule_policy: SglangSchedulePolicy = "fcfs",
        conservativeness: float = 1.0,
        mixed_chunk: bool = False,
        recv_interval: int = 1,
    ) -> None:
        super().__init__(limits, schedule_policy, conservativeness, mixed_chunk, recv_interval)
        self.is_decoding = False
        """Whether the decode group is computed in the step just scheduled."""
        self._has_decoded = False
        """Whether the tokens of the decode group are unread."""
        self._completed: set[Request] = set()
        """Whose prompt is complete, and the token after it unread."""
        self._ending: list[Request] = []
        """Whose unread token is the last one declared."""
        self._passed_over: set[Request] = set()
        """Of these, those that have left the decode group."""

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: the prompt chunks of a step, if any; the retracted. Who decodes is in
        `is_decoding`: nobody, where those retracted in vain would be of blocks about to be free."""
        self.is_decoding = False
        return super().schedule()

    def expect(self, requests: Iterable[Request]) -> None:
        """Take in whose unread token is the last one that was declared."""
        self._ending = list(requests)

    def has_said_all(self, request: Request) -> bool:
        """Whether the unread token of a request is the last one declared."""
        return super()._said(request) >= self._longest[request]

    def lingers(self, request: Request) -> bool:
        """Whether a request that has ended is computed once more."""
        return request not in self._passed_over

    def read_prompt(self, request: Request) -> None:
        """The token after a prompt is read: from now on others find the prompt."""
        super()._keep(request)

    def has_read(self) -> None:
        """All tokens are read."""
        self._has_decoded = False
        self._completed.clear()
        self._ending.clear()
        self._passed_over.clear()

    def advance(self, steps: int) -> None:
        """Account `steps` steps of the decode group; the tokens of the last one are unread."""
        super().advance(steps)
        self._has_decoded = True

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks: of one who is computed
        once more that token's too."""
        if decoding and request not in self._passed_over:
            starts_block = self.is_decoding and self.group.needs_block(request)
            self.group.leave(request)
            request.num_computed_tokens += self.is_decoding
            request.num_blocks += starts_block
            self._drawn -= starts_block
        super().finish(request, decoding=False)

    def _said(self, request: Request) -> int:
        return super()._said(request) - self._is_unread(request)

    def _is_unread(self, request: Request) -> bool:
        return self._has_decoded or request in self._completed

    def _keep(self, request: Request) -> None:
        if request is self.partial:
            super()._keep(request)
        else:
            self._completed.add(request)

    def _decode(self) -> list[Request]:
        passes_over = self._pass_over()
        self.is_decoding = self.group.size > 0 and (not passes_over or self._has_room())
        return super()._decode() if self.is_decoding else []

    def _goes_along(self, chunks: list[Chunk]) -> bool:
        self._pass_over()
        self.is_decoding = super()._goes_along(chunks)
        return self.is_decoding

    def _pass_over(self) -> bool:
        """Let those go who will have said all; whether there are any."""
        for request in self._ending:
            self.group.leave(request)
            self._passed_over.add(request)
            self._is_full = False
        return bool(self._ending)

    def _take_blocks(self, request: Request) -> None:
        super()._take_blocks(request)
        if self._is_unread(request):
            request.emitted -= 1
            request.num_tokens -= 1

    def _decodes(self, request: Request) -> bool:
        return super()._decodes(request) and request not in self._passed_over
