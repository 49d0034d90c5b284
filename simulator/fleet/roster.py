"""Who is there: replicas of a fleet as they start, leave and fail."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.fleet import Pool
from servecast.simulator.fleet.member import Member
from servecast.simulator.replica_plan import ReplicaPlan
from servecast.simulator.request import Request

Process = Generator[simpy.Event, Any, None]
LOOK_NS = 100_000_000
"""How often a leaving replica is looked at for whether it is idle."""


class Roster:
    """The members of a fleet, those who have gone included, and the clusters that they serve in."""

    def __init__(self, env: simpy.Environment, plan: Callable[[Pool], ReplicaPlan]) -> None:
        """`plan` compiles what it takes to start a replica of a pool."""
        self.env = env
        self.members: list[Member] = []
        """In the order of their numbers."""
        self.restarted = 0
        """Requests that a failure sent back to their start."""
        self.unfinished = 0
        """Requests that are not served yet, or not sent; at zero nothing changes any more."""
        self._plan = plan
        self._clusters: dict[str, Cluster] = {}

    def serve_in(self, cluster: Cluster, pools: Sequence[Pool]) -> None:
        """Replicas of these pools take their requests from `cluster`."""
        for pool in pools:
            self._clusters[pool.name] = cluster

    def begin(self, pool: Pool) -> Member:
        """A replica that occupies its GPUs from now, and takes no requests yet."""
        plan = self._plan(pool)
        start = plan.engine if pool.role == "both" else plan.connected_engine
        engine = start(len(self.members))
        member = Member(pool, plan, engine, since_ns=int(self.env.now))
        self.members.append(member)
        return member

    def of(self, pool: str) -> list[Member]:
        """Those that are there for a pool, the starting ones included, the leaving ones not."""
        return [m for m in self.members if m.pool.name == pool and not m.is_leaving]

    def ready(self, pool: str) -> list[Member]:
        """Those of them that take requests."""
        return [member for member in self.of(pool) if member.is_ready]

    def in_line(self, pool: str) -> int:
        """Requests that wait in front of its replicas, and of those that share their cluster."""
        return len(self._clusters[pool].queue)

    def start(self, pool: Pool, start_up_ns: int) -> Process:
        """Start a replica, which takes requests once it is up, unless it was told to leave."""
        member = self.begin(pool)
        yield self.env.timeout(start_up_ns)
        if not member.is_leaving:
            self.join(member)

    def join(self, member: Member) -> None:
        """It is up."""
        member.is_ready = True
        self._clusters[member.pool.name].join(member.engine)

    def drain(self, member: Member) -> Process:
        """Send a replica no more requests, and give its GPUs back once it is idle."""
        member.is_leaving = True
        if member.is_ready:
            self._clusters[member.pool.name].leave(member.engine)
        while member.engine.unfinished:
            yield self.env.timeout(LOOK_NS)
        member.until_ns = int(self.env.now)

    def lose(self, member: Member) -> None:
        """A replica fails: its requests begin again elsewhere, or wait until there is one."""
        member.is_leaving, member.until_ns = True, int(self.env.now)
        if member.is_ready:
            self.restarted += self._clusters[member.pool.name].fail(member.engine)

    def counting(self, on_finish: Callable[[Request], None] | None) -> Callable[[Request], None]:
        """What to call at each finish, so that `unfinished` is known."""

        def finished(request: Request) -> None:
            self.unfinished -= 1
            if on_finish is not None:
                on_finish(request)

        return finished
