"""Replicas that fail, and come back after a while."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servecast.simulator.fleet.member import Member
from servecast.simulator.fleet.roster import Process, Roster


@dataclass(frozen=True, slots=True)
class Outage:
    """At `at_ns` so many replicas of a pool fail at once, those that started first first.

    Each is replaced by one that has begun to start at once and is up after `down_ns`.
    """

    pool: str
    at_ns: int
    down_ns: int
    replicas: int = 1

    def happen(self, roster: Roster) -> Process:
        """Fail them at their time."""
        yield roster.env.timeout(self.at_ns)
        if roster.unfinished:
            for member in roster.ready(self.pool)[: self.replicas]:
                _replace(roster, member, self.down_ns)


@dataclass(frozen=True, slots=True)
class RandomOutages:
    """Each replica of a pool fails after an exponential time of this mean, again and again."""

    pool: str
    mean_between_ns: int
    down_ns: int
    seed: int = 0

    def happen(self, roster: Roster) -> Process:
        """Fail one of them whenever it is due: as a Poisson process of the rate of all together."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0x0FA11,)))
        while roster.unfinished:
            ready = roster.ready(self.pool)
            wait = rng.exponential(self.mean_between_ns / max(1, len(ready)))
            yield roster.env.timeout(max(1, round(wait)))
            still = [member for member in ready if not member.is_leaving]
            if still and len(still) == len(ready) and roster.unfinished:
                _replace(roster, still[int(rng.integers(len(still)))], self.down_ns)


def _replace(roster: Roster, member: Member, down_ns: int) -> None:
    roster.lose(member)
    roster.env.process(roster.start(member.pool, down_ns))
