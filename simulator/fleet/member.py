"""A replica of a fleet, and how long it was there."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.fleet.fleet import Pool
from servecast.simulator.replica_plan import ReplicaPlan


@dataclass(slots=True)
class Member:
    """An engine of a pool; it occupies its GPUs from `since_ns` until `until_ns`."""

    pool: Pool
    plan: ReplicaPlan
    engine: AnyEngine
    since_ns: int = 0
    until_ns: int | None = None
    """None: it is there until the end."""
    is_ready: bool = False
    """Whether it has started."""
    is_leaving: bool = False
    """Whether it takes no requests any more."""

    def gpu_hours(self, first_ns: int, last_ns: int) -> float:
        """What it occupied between two moments."""
        until = last_ns if self.until_ns is None else min(self.until_ns, last_ns)
        there_ns = max(0, until - max(self.since_ns, first_ns))
        return there_ns / 3.6e12 * self.pool.deployment.gpus_per_replica
