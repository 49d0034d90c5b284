"""What a search makes small or large. Several objectives together mean the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from servecast.errors import InputError, nearest
from servecast.simulator.vocabulary import (
    LATENCIES,
    Metric,
    Statistic,
    canonical_metric,
    canonical_statistic,
    percentile,
)

Price = Literal["cost", "gpu_hours", "energy"]
Direction = Literal["minimise", "maximise"]

PRICES: tuple[Price, ...] = ("cost", "gpu_hours")
"""Of GPUs, whatever they do: one more always costs more."""

SPENT: tuple[Price, ...] = (*PRICES, "energy")
"""What is spent on a million output tokens."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One quantity to optimise.

    `cost` is USD, `gpu_hours` GPU-hours and `energy` Wh, per million OUTPUT tokens; `throughput`
    is output tokens per second and `goodput` requests per second that meet every per-request SLO,
    both of the whole deployment; a latency has a statistic and is in seconds.
    """

    name: Metric | Price
    statistic: Statistic | None = None

    @property
    def direction(self) -> Direction:
        """Whether less or more of it is better."""
        return "minimise" if self.name in SPENT or self.name in LATENCIES else "maximise"

    @property
    def percentile(self) -> float | None:
        """The percentile in (0, 100), or None where there is none."""
        return percentile(self.statistic) if self.statistic else None

    def __str__(self) -> str:
        return f"{self.name}:{self.statistic}" if self.statistic else self.name


def parse_objective(text: str) -> Objective:
    """The objective named by `cost`, `gpu_hours`, `energy`, `throughput`, `goodput` or `ttft:p95`.

    A latency without a statistic is refused, for no percentile is assumed; so is `attainment`,
    which belongs among the SLOs.
    """
    name, _, statistic = (part.strip() for part in text.partition(":"))
    for price in SPENT:
        if price == name.lower().replace("-", "_"):
            return _whole(price, statistic)
    metric = _metric(name)
    if metric not in LATENCIES:
        return _whole(metric, statistic)
    if not statistic:
        raise InputError(
            f"objective `{text}` states no statistic", hint=f"did you mean `{metric}:p95`?"
        )
    return Objective(metric, canonical_statistic(statistic))


def _metric(name: str) -> Metric:
    known = [*SPENT, "throughput", "goodput", *(f"{metric}:p95" for metric in LATENCIES)]
    try:
        metric = canonical_metric(name)
    except InputError:
        near = nearest(name, known)
        raise InputError(
            f"objective `{name}` is unknown\n  known: {', '.join(known)}",
            hint=f"did you mean `{near}`?" if near else "write `objective: cost`",
        ) from None
    if metric == "attainment":
        raise InputError(
            "`attainment` is a limit, not an objective",
            hint="state it as the SLO `attainment > 99%`, or take the objective `goodput`",
        )
    return metric


def _whole(name: Metric | Price, statistic: str) -> Objective:
    if statistic:
        raise InputError(
            f"objective `{name}:{statistic}` states a statistic, but `{name}` is one number",
            hint=f"write `{name}`",
        )
    return Objective(name)
