"""What a router can be told: how old its news is, and how it weighs what it sees."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoutingOptions:
    """Options of routers; each reads those that concern it."""

    refresh_ms: float = 0.0
    """Replicas are looked at once in so long (llm-d's scheduler: 50 ms); 0: for each request."""
    prefix_weight: float = 3.0
    """Of `prefix_affinity`, as are the next two: the weights of llm-d's default profile."""
    kv_weight: float = 2.0
    queue_weight: float = 2.0
    overlap_weight: float = 1.0
    """Of `kv_overlap`: blocks of prompt still to compute, against blocks held."""
    index_tokens: int = 500_000
    """Prompt tokens that a router remembers of each replica: llm-d's 31,250 blocks of 16."""
    seed: int = 0
    """Of what it draws."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A bound on what is behind a router: who comes beyond it waits in line, or is turned away."""

    max_outstanding: int
    """Requests that are with the replicas at once."""
    max_queued: int = 0
    """Who waits for one of them to end; who comes beyond these is turned away at once."""
    max_wait_s: float | None = None
    """After which who waits is turned away too; None: never."""
