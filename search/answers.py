"""What is known of one candidate: its objectives, its SLOs, and the rung that told."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Literal

from servecast.primitives.deployment import Deployment
from servecast.search.space import Candidate
from servecast.simulator.result import Result
from servecast.simulator.slo import Slo

Rung = Literal["estimate", "simulate"]

TIE = 0.01
"""Objectives within this share of each other are a tie, decided by the slack to the SLOs."""

UNDEFINED = 1e6
"""The violation of an SLO on something infinite or not defined."""


@dataclass(frozen=True)
class Answer:
    """What is known of a candidate at its best number of replicas."""

    candidate: Candidate
    deployment: Deployment
    rung: Rung
    values: tuple[float, ...]
    """The objectives, in the scenario's order."""
    violations: tuple[float, ...]
    """For each SLO, by what share of its threshold it is missed; 0 or less where it is met."""
    result: Result | None
    reason: str = ""
    """Why the estimate ruled it out, where it did."""

    @property
    def is_feasible(self) -> bool:
        """Whether the simulation met every SLO without overload."""
        return (
            self.result is not None
            and not self.result.is_overloaded
            and all(violation <= 0 for violation in self.violations)
        )

    @property
    def worst(self) -> float:
        """The largest violation (negative: the smallest slack)."""
        return max(self.violations, default=-inf)


def violation(slo: Slo, reached: float) -> float:
    """By what share of its threshold `slo` is missed; 0 or below where it is met."""
    if not isfinite(reached):
        return UNDEFINED
    if slo.threshold == 0:
        return 0.0 if slo.met_by(reached) else 1.0
    sign = 1.0 if slo.is_latency else -1.0
    missed = sign * (reached - slo.threshold) / slo.threshold
    return min(missed, 0.0) if slo.met_by(reached) else max(missed, 1e-9)
