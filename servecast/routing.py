"""What a scenario's section `deployment` says of requests before they reach a replica."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from servecast.fields import Count, Section
from servecast.primitives.routing_options import Gateway, RoutingOptions
from servecast.traffic import Seconds

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RoutingSection(Section):
    """`routing_options`: how old a router's news is, and how it weighs what it sees."""

    refresh: Seconds = 0.0
    """Replicas are looked at once in so long; absent: for each request."""
    prefix_weight: Weight = 3.0
    """Of prefix_affinity, as the next two."""
    kv_weight: Weight = 2.0
    queue_weight: Weight = 2.0
    overlap_weight: Weight = 1.0
    """Of kv_overlap."""
    index_tokens: Count = 500_000
    """Prompt tokens that prefix_affinity and kv_overlap remember of each replica."""

    def value(self, seed: int) -> RoutingOptions:
        """The same as routers take it; `seed` is that of what they draw."""
        return RoutingOptions(
            refresh_ms=self.refresh * 1e3,
            prefix_weight=self.prefix_weight,
            kv_weight=self.kv_weight,
            queue_weight=self.queue_weight,
            overlap_weight=self.overlap_weight,
            index_tokens=self.index_tokens,
            seed=seed,
        )


class GatewaySection(Section):
    """`gateway`: a bound on the requests that are with the replicas at once."""

    max_outstanding: Count
    max_queued: Annotated[int, Field(strict=True, ge=0)] = 0
    """Who waits beyond them; who comes beyond these is turned away."""
    max_wait: Seconds | None = None
    """After which who waits is turned away; absent: never."""

    def value(self) -> Gateway:
        """The same as the simulator takes it."""
        return Gateway(self.max_outstanding, self.max_queued, self.max_wait)
