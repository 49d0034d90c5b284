"""Two runs side by side: which of their differences another seed would show too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, isnan, nan

import numpy as np

from servecast.errors import InputError
from servecast.simulator.metrics import batched_half_width, mean_half_width
from servecast.simulator.records import Records
from servecast.simulator.served import Served

LATENCIES = ("ttft", "tpot", "e2e")
STATISTICS = ("mean", "p50", "p95", "p99")
BATCHES = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A latency statistic of two runs, in seconds."""

    metric: str
    statistic: str
    one: float
    other: float
    half_width: float
    """95 % half-width of other − one; NaN where there are too few requests to tell."""

    @property
    def value(self) -> float:
        """The other's less the one's."""
        return self.other - self.one

    @property
    def is_seen(self) -> bool:
        """Whether it is more than chance, at 95 %."""
        return not isnan(self.half_width) and abs(self.value) > self.half_width


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences of two runs."""

    differences: tuple[Difference, ...]
    is_paired: bool
    """Whether both served the same requests, so that what they have in common cancels out."""


def compare(one: Served, other: Served) -> Comparison:
    """The differences in the latencies of two runs.

    Of the same requests (common random numbers) those that both served are compared in pairs, batch
    by batch; of different ones the sampling errors add up. InputError where one served nobody.
    """
    for run in (one, other):
        if not len(run.records):
            raise InputError(f"no request of `{run.workload}` was served", hint="raise its limits")
    mine, theirs = _common(one.records, other.records)
    paired = len(mine) > 0
    differences = [
        _difference(metric, statistic, one, other, (mine, theirs) if paired else None)
        for metric in LATENCIES
        for statistic in STATISTICS
    ]
    return Comparison(tuple(differences), paired)


def _common(one: Records, other: Records) -> tuple[Records, Records]:
    """The requests that both served; none where they are not the same ones."""
    _, mine, theirs = np.intersect1d(one.index, other.index, return_indices=True)
    first, second = one.rows(mine), other.rows(theirs)
    alike = np.array_equal(first.prompt_tokens, second.prompt_tokens)
    return (first, second) if alike else (one.rows(slice(0)), other.rows(slice(0)))


def _difference(
    metric: str,
    statistic: str,
    one: Served,
    other: Served,
    pair: tuple[Records, Records] | None,
) -> Difference:
    def of(run: Served) -> Callable[[Records], float]:
        return lambda part: run.among(part).latency(metric, statistic)

    if pair is None:
        half_width = hypot(
            batched_half_width(one.records, of(one)), batched_half_width(other.records, of(other))
        )
    else:
        half_width = _paired_half_width(*pair, of(one), of(other))
    return Difference(
        metric,
        statistic,
        one.latency(metric, statistic),
        other.latency(metric, statistic),
        half_width,
    )


def _paired_half_width(
    mine: Records,
    theirs: Records,
    of_mine: Callable[[Records], float],
    of_theirs: Callable[[Records], float],
) -> float:
    """95 % half-width of the mean of the batches' differences."""
    size = len(mine) // BATCHES
    if size < 2:
        return nan
    parts = [slice(batch * size, (batch + 1) * size) for batch in range(BATCHES)]
    return mean_half_width(
        [of_theirs(theirs.rows(part)) - of_mine(mine.rows(part)) for part in parts]
    )
