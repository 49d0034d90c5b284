"""Arrival processes: how unevenly requests come, apart from how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.quantities import MAX_ARRIVAL_NS, NS_PER_S
from servecast.traces.workload import Ints

_LEAST_CV = 0.01
_MOST_CV = 100.0


class ArrivalProcess(Protocol):
    """The shape of arrivals. Scaled to a rate by `arrival_times_ns`, once per workload."""

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """The next `count` gaps between arrivals, of mean 1, none negative."""
        ...


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent users: exponential gaps, whose coefficient of variation is 1."""

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.standard_exponential(count)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Bursts: Gamma gaps with coefficient of variation `cv`, above 1 burstier than Poisson.

    The rate that n requests realise varies by about cv/sqrt(n), as for any renewal process.
    """

    cv: float

    def __post_init__(self) -> None:
        if not _LEAST_CV <= self.cv <= _MOST_CV:
            raise InputError(
                f"burst cv is {self.cv:g}, and must be from {_LEAST_CV:g} to {_MOST_CV:g}",
                hint="1 is Poisson; constant gaps are the process `Constant`",
            )

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        shape = self.cv**-2
        return rng.standard_gamma(shape, count) / shape


@dataclass(frozen=True, slots=True)
class Constant:
    """A metronome: every gap the same. Draws nothing."""

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ones(count)


def arrival_times_ns(
    process: ArrivalProcess, requests: int, rate_per_s: float, rng: np.random.Generator
) -> Ints:
    """Times of arrival in nanoseconds, the first at 0, `rate_per_s` a second in expectation.

    From one seed, another rate gives the same pattern stretched.
    """
    elapsed = np.cumsum(process.gaps(requests - 1, rng)) * (NS_PER_S / rate_per_s)
    if len(elapsed) and not elapsed[-1] <= MAX_ARRIVAL_NS:
        raise InputError(
            f"{requests} requests at {rate_per_s:g}/s last longer than "
            f"{MAX_ARRIVAL_NS // NS_PER_S} s",
            hint="state a higher rate or fewer requests",
        )
    return np.concatenate([np.zeros(1, np.int64), np.rint(elapsed).astype(np.int64)])
