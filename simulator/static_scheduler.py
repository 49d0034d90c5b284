"""Static batching: who is in a batch stays in it until all are done, and nobody joins.

The request-level scheduling that Yu et al. (Orca, OSDI 2022, section 3.1) set out to replace, as
FasterTransformer has it under a server that batches. Never laid beside one: *unverified*.
"""

from __future__ import annotations

from itertools import islice

from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits


class StaticScheduler(OrcaScheduler):
    """Once a batch has ended, those first in line are the next one, as many as have a place.

    First all their prompts are computed, then all decode. What is simplified: tokens are handed out
    as they come, and who is done is not computed any more; only the place stays taken.
    """

    mixes_decodes = False

    def __init__(self, limits: SchedulerLimits) -> None:
        super().__init__(limits)
        self._left = 0
        """Of those who wait, from the first, who belongs to the batch under way."""

    def admits_on_arrival(self) -> bool:
        """Never: nobody joins a batch under way."""
        return False

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: prompts of the batch that are not computed yet; nobody is preempted."""
        if not self.running and not self._left:
            self._left = self._next_batch()
        return super().schedule()

    def _next_batch(self) -> int:
        """How many of those who wait have a place and memory together."""
        blocks, requests = self.blocks.total, 0
        for request in islice(self.waiting, self.limits.max_num_seqs):
            blocks -= self._needed(request)
            if blocks < 0:
                break
            requests += 1
        return requests

    def _room(self) -> int:
        return self.limits.max_num_batched_tokens  # nobody decodes beside prompts

    def _has_place(self, request: Request) -> bool:
        return self._left > 0 and super()._has_place(request)

    def _admit(self, token_budget: int) -> Chunk | None:
        self._left -= 1
        return super()._admit(token_budget)
