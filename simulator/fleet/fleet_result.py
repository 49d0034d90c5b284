"""What one run of a fleet found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np

from servecast.primitives.step_cost import StepCost
from servecast.simulator.energy import energy
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.member import Member
from servecast.simulator.records import Records
from servecast.simulator.served import Served


@dataclass(frozen=True)
class FleetResult(Served):
    """One run of a fleet under a workload; `members` are in the order of `logs`."""

    fleet: Fleet
    members: Sequence[Member]
    restarted: int = 0
    """Requests that a failure sent back to their start; one that it met twice counts twice."""

    @property
    def gpu_hours(self) -> float:
        """All GPUs for as long as they were occupied, between first arrival and last token."""
        return sum(self._hours(member) for member in self.members)

    @property
    def usd_spent(self) -> float:
        """The price of those hours; NaN where one is not known."""
        return sum(self._hours(member) * _price(member.pool) for member in self.members)

    @property
    def wh_spent(self) -> float:
        """What its GPUs drew while they were occupied, in Wh; NaN where one is not known."""
        return self._drawn_wh

    @property
    def caches_prefixes(self) -> bool:
        """Whether its engines have a prefix cache: all of them or none."""
        return self.fleet.pools[0].deployment.enable_prefix_caching

    def of_pool(self, pool: Pool) -> Records:
        """The requests whose last token came from `pool`."""
        numbers = [
            number for number, member in enumerate(self.members) if member.pool.name == pool.name
        ]
        rows = np.flatnonzero(np.isin(self.records.replica, numbers))
        return self.records.rows(rows)

    def mean_replicas(self, pool: Pool) -> float:
        """How many of a pool's replicas there were on average, the starting ones included."""
        there = [member for member in self.members if member.pool.name == pool.name]
        hours = sum(self._hours(m) / m.pool.deployment.gpus_per_replica for m in there)
        return hours * 3600.0 / self.duration_s if self.duration_s else 0.0

    @property
    def _step_costs(self) -> Sequence[StepCost]:
        return [member.plan.stages[0] for member in self.members]

    def _hours(self, member: Member) -> float:
        if not len(self.records):
            return 0.0
        first, last = self.records.arrival_ns.min(), self.records.finish_ns.max()
        return member.gpu_hours(int(first), int(last))

    @cached_property
    def _drawn_wh(self) -> float:
        return sum(self._wh(member) for member in self.members)

    def _wh(self, member: Member) -> float:
        deployed = member.pool.deployment
        there_s = self._hours(member) / deployed.gpus_per_replica * 3600.0
        drawn = energy(deployed, [member.engine.log], there_s)
        return nan if drawn is None else drawn.wh


def _price(pool: Pool) -> float:
    price = pool.deployment.usd_per_gpu_hour
    return nan if price is None else price
