"""The timeline of a workload: its rate and its bursts as time goes by, and by length of window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.traces.quantities import NS_PER_S
from servecast.traces.workload import Ints, Workload

Floats = NDArray[np.float64]

BINS = 180
"""About as many points as a curve of the rate has."""

LEAST_GAPS = 20
"""Gaps between arrivals below which a span of time tells no coefficient of variation."""

_ROUND_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800),
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Whole bins of one length, from the first arrival on."""

    bin_s: float
    start_s: Floats
    rate_per_s: Floats
    """Arrivals in each bin, over its length."""


def bin_length_s(span_s: float, bins: int = BINS) -> float:
    """A round length of which at most `bins` make the span, from a millisecond to a week."""
    return next((each for each in _ROUND_S if each * bins >= span_s), _ROUND_S[-1])


def timeline(arrival_ns: Ints, span_ns: int, bin_s: float) -> Timeline:
    """The rate of arrivals (the first of the workload is at 0) over a span, bin by bin."""
    whole = max(1, int(span_ns / NS_PER_S // bin_s))
    edges = np.arange(whole + 1, dtype=np.float64) * bin_s
    counts, _ = np.histogram(arrival_ns / NS_PER_S, edges)
    return Timeline(bin_s, edges[:-1], counts / bin_s)


def gap_cv(workload: Workload, most: int = 40) -> tuple[Floats, Floats]:
    """When each of at most so many spans of time begins, in s, and the variation of gaps in it.

    The spans have arrivals enough on average; NaN for one that has too few.
    """
    bins = max(1, min(most, len(workload) // (3 * LEAST_GAPS)))
    arrival_s = (workload.arrival_ns - workload.arrival_ns[0]) / NS_PER_S
    length_s = bin_length_s(float(arrival_s[-1]), bins)
    edges = np.arange(0.0, float(arrival_s[-1]) + length_s, length_s)
    parts = np.split(arrival_s, np.searchsorted(arrival_s, edges[1:]))[: len(edges)]
    cv = [_variation(np.diff(part)) for part in parts]
    return edges[: len(cv)], np.array(cv)


def _variation(gaps: Floats) -> float:
    mean = float(gaps.mean()) if len(gaps) >= LEAST_GAPS else 0.0
    return float(gaps.std()) / mean if mean else float("nan")


def dispersion(workload: Workload, points: int = 24) -> tuple[Floats, Floats]:
    """Lengths of window in s, and the index of dispersion of arrivals in windows so long.

    Variance of the count over its mean. From a mean of half an arrival a window to ten windows.
    """
    since_ns = workload.arrival_ns - workload.arrival_ns[0]
    span_s = int(since_ns[-1]) / NS_PER_S
    shortest = max(span_s / max(len(workload), 1) / 2, span_s / 2_000_000)
    if span_s < 20 * shortest:
        return np.empty(0), np.empty(0)
    lengths = np.geomspace(shortest, span_s / 10, points)
    return lengths, np.array([_index(since_ns / NS_PER_S, each, span_s) for each in lengths])


def _index(since_s: Floats, length_s: float, span_s: float) -> float:
    whole = int(span_s // length_s)
    counts = np.bincount((since_s // length_s).astype(np.int64), minlength=whole)[:whole]
    return float(counts.var() / counts.mean())
