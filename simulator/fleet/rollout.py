"""A change of configuration, replica by replica, without a pause."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servecast.primitives.deployment import Deployment
from servecast.simulator.fleet.fleet import Pool
from servecast.simulator.fleet.roster import Process, Roster


@dataclass(frozen=True, slots=True)
class Rollout:
    """From `at_ns` on each replica of a pool is replaced by one of another deployment.

    `surge` new ones start beside the old ones, which drain once those are up (Kubernetes calls it
    maxSurge). With a surge of 0 the old one drains first, and its GPUs are used again.
    """

    pool: str
    deployment: Deployment
    at_ns: int
    start_up_ns: int
    surge: int = 1

    def happen(self, roster: Roster) -> Process:
        """Replace them, group by group."""
        yield roster.env.timeout(self.at_ns)
        old = roster.of(self.pool)
        step = max(1, self.surge)
        for first in range(0, len(old), step):
            leaving = [member for member in old[first : first + step] if not member.is_leaving]
            if not (leaving and roster.unfinished):
                continue
            drains = [roster.drain(member) for member in leaving]
            starts = [roster.start(self._new(member.pool), self.start_up_ns) for member in leaving]
            for part in (starts, drains) if self.surge else (drains, starts):
                yield roster.env.all_of([roster.env.process(each) for each in part])

    def _new(self, pool: Pool) -> Pool:
        return replace(pool, deployment=self.deployment)
