"""How wide bands around forecasts must be, and whether they hold for what took no part.

`python -m benchmarks.band_widths PRED MEASURED` compares a file of `servecast predict` with the
measurements and prints, by family, the factors that `profiler/bands.py` ships, and the share of
points that they cover: those of the fit, and those of each group of one model, GPU and engine
with factors from all the other groups.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.table import Row, show
from servecast.profiler.bands import TAIL, Band, Family, family_of, tpot_band, ttft_band
from servecast.profiler.measured_points import Measured, read_measured
from servecast.profiler.predict import Prediction
from servecast.profiler.prediction_file import read_predictions

Key = tuple[bool, ...]
Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measurement over forecast of one point."""

    family: Family
    group: str
    """Model, GPU and engine: what is left out together."""
    engine: str
    value: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A latency with bands of its own: what tells its families apart, and the shipped band."""

    name: str
    key: Callable[[Family], Key]
    shipped: Callable[[Family], Band]


METRICS = (
    Metric("tpot_ms", lambda f: (f.has_tables, f.has_experts), tpot_band),
    Metric("ttft_ms", lambda f: (f.has_tables, f.has_experts, f.is_own_sweep), ttft_band),
)


def ratios(
    predictions: Sequence[Prediction], measured: Sequence[Measured], metric: str
) -> list[Ratio]:
    """Of every point that is forecast and measured."""
    by_id = {each.point_id: each for each in predictions if each.status == "ok"}
    found: list[Ratio] = []
    for row in measured:
        prediction, value = by_id.get(row.point.point_id), row.values[metric]
        if prediction is not None and value is not None:
            p = row.point
            family = family_of(p, prediction.provenance)
            group = f"{p.model} {p.gpu} {p.engine}"
            ratio = value / getattr(prediction, metric)
            found.append(Ratio(family, group, p.engine, ratio))
    return found


def fitted(found: Sequence[Ratio]) -> Band:
    """Factors that leave TAIL of the points out on either side."""
    logs = np.log([each.value for each in found])
    low, high = np.exp(np.quantile(logs, [TAIL, 1 - TAIL]))
    return Band(float(low), float(high))


def coverage(found: Sequence[Ratio], band: Band) -> float:
    """Share of the points within the band."""
    return float(np.mean([band.low <= each.value <= band.high for each in found]))


def left_out_coverage(found: Sequence[Ratio]) -> float:
    """Share of points within the band of the other groups; NaN where there is one group alone."""
    groups = _by(found, lambda each: each.group)
    if len(groups) < 2:
        return float("nan")
    inside = 0.0
    for name, points in groups.items():
        others = [each for each in found if each.group != name]
        inside += len(points) * coverage(points, fitted(others))
    return inside / len(found)


def widths(found: Sequence[Ratio], metric: Metric) -> Iterator[Row]:
    """A row a family: its factors and how many points they cover."""
    for key, points in sorted(_by(found, lambda each: metric.key(each.family)).items()):
        band, shipped = fitted(points), metric.shipped(points[0].family)
        yield {
            "family": _words(key),
            "points": len(points),
            "groups": len({each.group for each in points}),
            "low": f"{band.low:.2f}",
            "high": f"{band.high:.2f}",
            "in-sample": f"{coverage(points, band):.3f}",
            "left out": f"{left_out_coverage(points):.3f}",
            "shipped": f"{coverage(points, shipped):.3f}",
        }


def shipped_by_circumstance(found: Sequence[Ratio], metric: Metric) -> Iterator[Row]:
    """How many points the shipped bands cover, by circumstances finer than the families."""

    def circumstance(each: Ratio) -> tuple[Key, str]:
        f = each.family
        return (f.has_tables, f.has_experts, f.is_own_sweep), each.engine

    for (key, engine), points in sorted(_by(found, circumstance).items()):
        band = metric.shipped(points[0].family)
        share = f"{coverage(points, band):.3f}"
        yield {"family": _words(key), "engine": engine, "points": len(points), "shipped": share}


def _by(found: Sequence[Ratio], name: Callable[[Ratio], Name]) -> Mapping[Name, list[Ratio]]:
    sorted_out: dict[Name, list[Ratio]] = defaultdict(list)
    for each in found:
        sorted_out[name(each)].append(each)
    return sorted_out


def _words(key: Key) -> str:
    pairs = (("roofline", "tables"), ("dense", "experts"), ("flags known", "own sweep"))
    return ", ".join(pair[is_second] for pair, is_second in zip(pairs, key, strict=False))


def main() -> None:
    """Print both tables of both latencies."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m benchmarks.band_widths PRED MEASURED")
    predictions, measured = read_predictions(Path(sys.argv[1])), read_measured(Path(sys.argv[2]))
    for metric in METRICS:
        found = ratios(predictions, measured, metric.name)
        show(f"{metric.name}: factors", list(widths(found, metric)))
        show(f"{metric.name}: coverage", list(shipped_by_circumstance(found, metric)))


if __name__ == "__main__":
    main()
