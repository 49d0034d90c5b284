"""A request on its way from the replica that computes its prompt to the one that says the rest."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.request_halves import FetchedRequest, PromptRequest


@dataclass(slots=True)
class Handover:
    """Both halves of a request, and how far it is."""

    prompt: PromptRequest
    fetched: FetchedRequest
    prompt_ns: int | None = None
    """When the prompt was computed."""
    receiver: ConnectedEngine | None = None
    """Where there are blocks for it."""
    reserved_ns: int = 0
    """Since when."""

    @property
    def overlap_ns(self) -> int:
        """How long the prompt was computed with the blocks for it reserved elsewhere."""
        began_ns = self.prompt.scheduled_ns
        if self.prompt_ns is None or began_ns is None:
            return 0
        return max(0, self.prompt_ns - max(began_ns, self.reserved_ns))
