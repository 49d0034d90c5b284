"""The scheduler of vLLM V1 (0.32) with asynchronous scheduling."""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler

LINGERS = 1 << 62
"""`decode_end` of a request that has its last token and decodes on: beyond all steps."""


class VllmAsyncScheduler(VllmScheduler):
    """Decides a step while the one before it computes, and so knows the tokens before that alone.

    A block that a step fills is known to the pass after it. Whoever got its last token holds its
    place and its blocks in one pass more; if that token was the last one allowed it is `spent`, and
    nothing of it is computed any more.
    """

    _foresight = 0

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self.spent: dict[Request, None] = {}

    def retire(self, request: Request, *, decoding: bool) -> None:
        """Take in that a request has the last token it may have."""
        if decoding:
            self.group.leave(request)
        self.spent[request] = None

    def finish(self, request: Request, *, decoding: bool) -> None:
        """Forget a request that has all its tokens, and release its blocks."""
        super().finish(request, decoding=decoding)
        self.spent.pop(request, None)

    def withdraw(self, request: Request) -> None:
        """Forget a preempted request that turned out to have all its tokens."""
        self.waiting.remove(request)
        self.spent.pop(request, None)

    def _decodes(self, request: Request) -> bool:
        return super()._decodes(request) and request not in self.spent

    def _known_tokens(self, request: Request) -> int:
        """Of one who decodes all but what the last step computed."""
        unknown = request.decode_end > 0 and request not in self.spent
        return request.num_computed_tokens - unknown
