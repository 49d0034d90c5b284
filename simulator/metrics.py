"""What a run amounts to, by the definitions of the field; the one place that defines them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.simulator.records import Records

PERCENTILES = (50.0, 90.0, 95.0, 99.0)

STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Two-sided 95 % quantiles of Student's t for the mean of 2, 3 … 10 values."""


def weighted_percentile(
    values: NDArray[np.int64], counts: NDArray[np.int64], percentile: float
) -> float:
    """The percentile, by linear interpolation, of `values` each repeated `counts` times."""
    kept = counts > 0
    values, counts = values[kept], counts[kept]
    if not len(values):
        return float("nan")
    order = np.argsort(values, kind="stable")
    last = np.cumsum(counts[order]) - 1  # rank of the last copy of each value
    rank = percentile / 100.0 * float(last[-1])
    low, high = np.searchsorted(last, [np.floor(rank), np.ceil(rank)])
    lower, upper = float(values[order[low]]), float(values[order[high]])
    return lower + (upper - lower) * float(rank - np.floor(rank))


@dataclass(frozen=True, slots=True)
class Distribution:
    """A latency in seconds over requests (or, for ITL, over tokens)."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


_NAN = float("nan")
UNDEFINED = Distribution(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN)
"""Of nothing."""


def distribution(values_s: NDArray[np.float64]) -> Distribution:
    """Of the values that are defined; NaN throughout where there is none."""
    values_s = values_s[~np.isnan(values_s)]
    if not len(values_s):
        return UNDEFINED
    p50, p90, p95, p99 = np.percentile(values_s, PERCENTILES).tolist()
    return Distribution(float(values_s.mean()), p50, p90, p95, p99, float(values_s.max()))


def inter_token_distribution(
    waits_ns: NDArray[np.int64], counts: NDArray[np.int64]
) -> Distribution:
    """ITL pooled over tokens, in seconds."""
    total = int(counts.sum())
    if not total:
        return UNDEFINED
    mean = float((waits_ns.astype(np.float64) * counts).sum()) / total
    p50, p90, p95, p99 = (weighted_percentile(waits_ns, counts, q) / 1e9 for q in PERCENTILES)
    longest = float(waits_ns[counts > 0].max()) / 1e9
    return Distribution(mean / 1e9, p50, p90, p95, p99, longest)


def batched_half_width(
    records: Records, statistic: Callable[[Records], float], batches: int = 10
) -> float:
    """95 % half-width of a statistic of the run, from means over consecutive batches of requests.

    The sampling error that another seed would show; model error is not in it.
    """
    size = len(records) // batches
    if size < 2:
        return float("nan")
    return mean_half_width(
        [statistic(records.rows(slice(i * size, (i + 1) * size))) for i in range(batches)]
    )


def mean_half_width(values: Sequence[float]) -> float:
    """95 % half-width of the mean of independent values; NaN where fewer than two are defined."""
    known = np.asarray([value for value in values if not np.isnan(value)])
    if len(known) < 2:
        return float("nan")
    student = STUDENT_95[min(len(known) - 2, len(STUDENT_95) - 1)]
    return float(student * known.std(ddof=1) / np.sqrt(len(known)))
