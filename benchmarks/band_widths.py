"""How wide bands around forecasts must be, and whether they hold for what took no part in them.

A band's ends are quantiles of measurement over forecast. Where the bands of all other groups cover
too few of the points of a group left out, the band is widened around its middle until they do.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.development_part import group_of
from servecast.profiler.bands import Band, Circumstance, family_of
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Prediction

TAIL = 0.03
"""Share of the measurements left out on either side. Not 0.05: with that, architectures, GPUs and
engines that took no part are covered too seldom."""
LEAST_COVERED = 0.85
"""Of points of groups left out; below it a band is widened."""
WIDENINGS = [1 + 0.05 * step for step in range(41)]
"""Tried one after the other, on the logarithm of the factors; the last one whatever it covers."""
METRICS = ("tpot_ms", "ttft_ms")


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measurement over forecast of one point."""

    group: str
    value: float
    left_out: float
    """With coefficients from the other groups alone."""


@dataclass(frozen=True, slots=True)
class Width:
    """A band, how it was found, and the shares of points it covers."""

    metric: str
    circumstance: Circumstance
    band: Band
    widened: float
    points: int
    groups: int
    in_sample: float
    left_out: float


def ratios(
    measured: Sequence[Measured],
    forecast: Sequence[Prediction],
    left_out: Sequence[Prediction],
    metric: str,
) -> dict[Circumstance, list[Ratio]]:
    """Of every point that is forecast and measured, by circumstance."""
    found: dict[Circumstance, list[Ratio]] = defaultdict(list)
    for row, one, other in zip(measured, forecast, left_out, strict=True):
        value, a, b = row.values[metric], getattr(one, metric), getattr(other, metric)
        if value is not None and a is not None and b is not None:
            family = family_of(row.point, one.provenance)
            ratio = Ratio(group_of(row.point), value / a, value / b)
            found[family.circumstance(metric)].append(ratio)
    return dict(sorted(found.items()))


def fitted(found: Sequence[Ratio], widening: float = 1.0) -> Band:
    """Factors that leave TAIL of the points out on either side, widened around their middle."""
    low, high = np.quantile(np.log([each.value for each in found]), [TAIL, 1 - TAIL])
    middle, half = (low + high) / 2, (high - low) / 2 * widening
    return Band(float(np.exp(middle - half)), float(np.exp(middle + half)))


def coverage(values: Sequence[float], band: Band) -> float:
    """Share of the ratios within the band."""
    return float(np.mean([band.low <= each <= band.high for each in values]))


def left_out_coverage(found: Sequence[Ratio], widening: float = 1.0) -> float:
    """Share of points within the band of the other groups; NaN where there is one group alone."""
    groups = _by_group(found)
    if len(groups) < 2:
        return float("nan")
    inside = 0.0
    for name, points in groups.items():
        others = [each for each in found if each.group != name]
        band = fitted(others, widening)
        inside += len(points) * coverage([each.left_out for each in points], band)
    return inside / len(found)


def width(metric: str, circumstance: Circumstance, found: Sequence[Ratio]) -> Width:
    """The narrowest widening that covers enough of what is left out."""
    covered, widening = float("nan"), 1.0
    for widening in WIDENINGS:
        covered = left_out_coverage(found, widening)
        if not covered < LEAST_COVERED:
            break
    band = fitted(found, widening)
    inside = coverage([each.value for each in found], band)
    groups = len(_by_group(found))
    return Width(metric, circumstance, band, widening, len(found), groups, inside, covered)


def widths(
    measured: Sequence[Measured], forecast: Sequence[Prediction], left_out: Sequence[Prediction]
) -> Iterator[Width]:
    """The bands of both latencies."""
    for metric in METRICS:
        for circumstance, found in ratios(measured, forecast, left_out, metric).items():
            yield width(metric, circumstance, found)


def file_text(found: Sequence[Width]) -> str:
    """The text of `profiler/data/bands.csv`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        (
            *("metric", "costs", "model", "rows", "low", "high", "widened"),
            *("points", "groups", "in_sample", "left_out"),
        )
    )
    for each in sorted(found, key=lambda w: (w.metric, w.circumstance)):
        ends = (f"{each.band.low:.2f}", f"{each.band.high:.2f}", f"{each.widened:.2f}")
        shares = (f"{each.in_sample:.3f}", f"{each.left_out:.3f}")
        writer.writerow([each.metric, *each.circumstance, *ends, each.points, each.groups, *shares])
    return text.getvalue()


def _by_group(found: Sequence[Ratio]) -> Mapping[str, list[Ratio]]:
    groups: dict[str, list[Ratio]] = defaultdict(list)
    for each in found:
        groups[each.group].append(each)
    return groups
