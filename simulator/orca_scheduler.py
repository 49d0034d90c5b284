"""The scheduler of Orca: decides anew at each step, computes prompts in whole, reserves to the end.

Yu et al., "Orca: A Distributed Serving System for Transformer-Based Generative Models" (OSDI 2022),
algorithm 1, with one batch under way. Never laid beside an implementation: *unverified*.
"""

from __future__ import annotations

from servecast.errors import InputError
from servecast.simulator.request import Request
from servecast.simulator.reserving_scheduler import ReservingScheduler
from servecast.simulator.scheduler import Chunk


class OrcaScheduler(ReservingScheduler):
    """Whole prompts beside those who decode, by order of arrival.

    A request starts where a place (`max_bs`) and the memory for all that it may ever hold
    (`max_tokens` of `n_slots`) are free; who does not fit keeps all behind waiting. That all but
    attention is computed over all tokens of a step together (selective batching) is what a step's
    cost means anyway. The paper bounds no step's tokens; here `max_num_batched_tokens` does.
    """

    budget_name = "max_num_batched_tokens"
    """What the engine calls the bound of a step's tokens."""

    def add_request(self, request: Request) -> None:
        """Queue a request; InputError for a prompt that no step can compute in whole."""
        if not self._first_tokens(request, self.limits.max_num_batched_tokens):
            raise InputError(
                f"a prompt of {request.prompt_tokens} tokens exceeds {self.budget_name} "
                f"{self.limits.max_num_batched_tokens}, and prompts are computed in whole",
                hint=f"set {self.budget_name} to {request.prompt_tokens} or more",
            )
        super().add_request(request)

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        """One pass: prompts for the step beside the decode group; nobody is preempted."""
        return self._admitted(self._room()), []

    def _room(self) -> int:
        """Prompt tokens that the next step takes."""
        return self.limits.max_num_batched_tokens - self.group.size

    def _admitted(self, room: int) -> list[Chunk]:
        """The chunks of those who start, first come first served, with that much room."""
        chunks: list[Chunk] = []
        while self.waiting and self._has_place(self.waiting[0]):
            tokens = self._first_tokens(self.waiting[0], room)
            chunk = self._admit(tokens) if tokens else None
            if chunk is None:
                break
            chunks.append(chunk)
            room -= tokens
        return chunks

    def _first_tokens(self, request: Request, room: int) -> int:
        """How much of a prompt a step with that much room computes first: all of it, or nothing."""
        return request.prompt_tokens if request.prompt_tokens <= room else 0
