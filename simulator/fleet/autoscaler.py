"""An autoscaler as Kubernetes' horizontal one: a signal, a target, and a slow way down."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from servecast.simulator.fleet.member import Member
from servecast.simulator.fleet.roster import Process, Roster

Signal = Literal["utilisation", "queue", "ttft"]
"""Share of the places that are taken; requests that wait to be computed, in front of the replicas
too; p95 of the time to the first token."""

TOLERANCE = 0.1
"""No change while the signal is this close to its target (Kubernetes' default)."""


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """Keeps a signal of a pool near `target` by starting and draining replicas.

    Every `interval_ns` it wants ceil(replicas × signal / target) of them, the starting ones counted
    and taken as idle; to have fewer, it must have wanted fewer for all of `patience_ns`. (The
    algorithm of the HorizontalPodAutoscaler; 15 s and 300 s are its defaults.)
    """

    pool: str
    signal: Signal
    target: float
    """A share, requests a replica, or seconds."""
    most: int
    least: int = 1
    start_up_ns: int = 0
    interval_ns: int = 15_000_000_000
    patience_ns: int = 300_000_000_000

    def happen(self, roster: Roster) -> Process:
        """Look at the signal until the last request has finished."""
        wanted = deque([(int(roster.env.now), len(roster.of(self.pool)))])
        while roster.unfinished:
            yield roster.env.timeout(self.interval_ns)
            now_ns = int(roster.env.now)
            wanted.append((now_ns, self._wanted(roster, now_ns)))
            while wanted[0][0] < now_ns - self.patience_ns:
                wanted.popleft()
            if roster.unfinished:
                self._scale(roster, wanted)

    def _scale(self, roster: Roster, wanted: deque[tuple[int, int]]) -> None:
        there = roster.of(self.pool)
        count, (latest, most) = len(there), (wanted[-1][1], max(each for _, each in wanted))
        for _ in range(latest - count):
            roster.env.process(roster.start(there[-1].pool, self.start_up_ns))
        for member in _idlest(there)[: max(0, count - most)]:
            roster.env.process(roster.drain(member))

    def _wanted(self, roster: Roster, now_ns: int) -> int:
        there = roster.of(self.pool)
        ratio = self._total(roster, now_ns) / self.target
        if self.signal == "ttft":  # no sum over replicas but one figure for all of them
            ratio = ratio * len(there)
        close = abs(ratio - len(there)) <= TOLERANCE * len(there)
        count = len(there) if close else ceil(ratio)
        return min(max(count, self.least), self.most)

    def _total(self, roster: Roster, now_ns: int) -> float:
        ready = roster.ready(self.pool)
        engines = [member.engine for member in ready]
        if self.signal == "utilisation":
            return sum(min(1.0, engine.outstanding / engine.places) for engine in engines)
        if self.signal == "queue":
            return sum(engine.waiting for engine in engines) + roster.in_line(self.pool)
        return _late_first_tokens_s(ready, now_ns - 4 * self.interval_ns)


def _idlest(members: list[Member]) -> list[Member]:
    """Starting ones first, then by how little they have to do, the latest first."""
    return sorted(members, key=lambda m: (m.is_ready, m.engine.outstanding, -m.since_ns))


def _late_first_tokens_s(ready: list[Member], since_ns: int) -> float:
    """The p95 of TTFT over requests that finished since then; 0 where none did."""
    waits: list[float] = []
    for member in ready:
        rows = member.engine.recorder.rows
        recent = slice(int(np.searchsorted(rows.column("finish_ns"), since_ns)), None)
        waits += (
            rows.column("first_token_ns")[recent] - rows.column("arrival_ns")[recent]
        ).tolist()
    return float(np.percentile(waits, 95)) / 1e9 if waits else 0.0
