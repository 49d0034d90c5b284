"""One look of transformers' scheduler at its candidates."""

from __future__ import annotations

from dataclasses import dataclass, field

from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk


@dataclass(slots=True)
class CandidatesPass:
    """One look at the candidates, as far as it has come."""

    token_budget: int
    cache_budget: int
    """Tokens of the cache that a step can read: a shared block counts for each who reads it."""
    request_budget: int
    in_safety_margin: bool
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    passed_over: list[Request] = field(default_factory=list[Request])
    """Decoding requests that stay where they are."""
    scheduled: int = 0
    is_closed: bool = False
    """Whether a prompt was met that may not go ahead: nobody after it does."""

    @property
    def is_over(self) -> bool:
        """Whether nobody else is looked at."""
        return self.is_closed or not (
            self.token_budget and self.cache_budget > 0 and self.request_budget > 0
        )

    def take(self, tokens: int, read: int, requests: int = 1) -> None:
        """Account scheduled requests: the tokens computed of them, and those read for that."""
        self.scheduled += requests
        self.token_budget -= tokens
        self.cache_budget -= read
        self.request_budget -= requests
