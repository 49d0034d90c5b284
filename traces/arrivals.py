"""Arrival processes: how unevenly requests come, apart from how often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.traces.quantities import MAX_ARRIVAL_NS, NS_PER_S
from servecast.traces.workload import Ints

_LEAST_CV = 0.01
_MOST_CV = 200.0


Floats = NDArray[np.float64]


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
        _require_cv(self.cv)

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        shape = self.cv**-2
        return rng.standard_gamma(shape, count) / shape

    def wait(self, rng: np.random.Generator) -> float:
        """From a moment like any other to the next arrival: a part of a gap drawn by its length."""
        shape = self.cv**-2
        return float(rng.random() * rng.standard_gamma(shape + 1) / shape)


@dataclass(frozen=True, slots=True)
class Weibull:
    """Bursts as `Gamma` has them, with longer tails where `cv` is above 1."""

    cv: float

    def __post_init__(self) -> None:
        _require_cv(self.cv)

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        shape = weibull_shape(self.cv)
        return rng.weibull(shape, count) / math.gamma(1 + 1 / shape)

    def wait(self, rng: np.random.Generator) -> float:
        """From a moment like any other to the next arrival: a part of a gap drawn by its length."""
        shape = weibull_shape(self.cv)
        gap = rng.standard_gamma(1 + 1 / shape) ** (1 / shape) / math.gamma(1 + 1 / shape)
        return float(rng.random() * gap)


class StationaryProcess(ArrivalProcess, Protocol):
    """Arrivals that one may begin to look at in the middle."""

    def wait(self, rng: np.random.Generator) -> float:
        """From a moment like any other to the next arrival, the mean gap being 1."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    """A metronome: every gap the same. Draws nothing."""

    def gaps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.ones(count)


@lru_cache(maxsize=1024)
def weibull_shape(cv: float) -> float:
    """The shape at which Weibull gaps vary by `cv`: the root of Γ(1+2/k) / Γ(1+1/k)² = 1 + cv²."""
    low, high = 0.05, 200.0
    for _ in range(100):
        middle = math.sqrt(low * high)
        excess = math.lgamma(1 + 2 / middle) - 2 * math.lgamma(1 + 1 / middle)
        low, high = (middle, high) if excess > math.log1p(cv * cv) else (low, middle)
    return low


def times_within_ns(
    process: StationaryProcess, rate_per_s: float, span_ns: int, rng: np.random.Generator
) -> Ints:
    """Times of arrival from 0 up to `span_ns`, as of a process that has run for ever.

    So `rate_per_s` is met in expectation however short the span, which a process that begins with
    an arrival exceeds by (cv² - 1) / 2 requests.
    """
    mean_ns = NS_PER_S / rate_per_s
    last = process.wait(rng)
    found: list[Floats] = []
    while last * mean_ns < span_ns:
        expected = int((span_ns / mean_ns - last) * 1.1) + 16
        times = np.concatenate(([last], last + np.cumsum(process.gaps(expected, rng))))
        found.append(times[:-1])
        last = float(times[-1])
    elapsed = np.concatenate(found) * mean_ns if found else np.empty(0)
    return np.floor(elapsed[elapsed < span_ns]).astype(np.int64)


def _require_cv(cv: float) -> None:
    if not _LEAST_CV <= cv <= _MOST_CV:
        raise InputError(
            f"burst cv is {cv:g}, and must be from {_LEAST_CV:g} to {_MOST_CV:g}",
            hint="1 is Poisson; constant gaps are the process `Constant`",
        )


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
