"""How far predictions are from measurements, by group, beside a naive roofline."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError, ServecastError
from servecast.profiler.disaggregated import pools_of
from servecast.profiler.measured_points import METRICS, Measured
from servecast.profiler.naive_roofline import naive_ms, naive_pools_ms
from servecast.profiler.point_deployment import clients_of, deployment_of
from servecast.profiler.predict import Prediction

NOISE_FLOOR = {"tpot_ms": (0.003, 0.10), "ttft_ms": (0.026, 0.30)}
"""Median and P90 of (highest / lowest - 1) over 121 configurations measured more than once."""

Values = NDArray[np.float64]
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of one metric over some points; shares, not percent."""

    count: int
    mape: float
    median: float
    p90: float
    signed: float
    """Median with its sign: below 0 is too low a forecast."""
    rank: float
    """Spearman's correlation of forecast and measurement; NaN below three points."""
    covered: float = float("nan")
    """Share of points whose measurement lies within the forecast's own band; NaN without one."""


@dataclass(slots=True)
class Pairs:
    """Forecast, measured and naive values of one group's points, by metric."""

    name: str
    rows: dict[str, list[tuple[float, float, float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Forecast, measured, lower and upper end of the band, naive (NaN where there is none)."""
    refused: int = 0

    def errors(self, metric: str, *, naive: bool = False) -> Errors:
        """The errors of the forecast, or of the naive roofline."""
        table = np.array(self.rows.get(metric, []), dtype=np.float64).reshape(-1, 5)
        forecast = table[:, 4 if naive else 0]
        known = ~np.isnan(forecast)
        errors = _errors(forecast[known], table[known, 1])
        return errors if naive else replace(errors, covered=_covered(table))


@dataclass(frozen=True, slots=True)
class Validation:
    """Every group, all together, and why points were refused or are missing, with counts."""

    groups: Sequence[Pairs]
    total: Pairs
    refusals: Counter[str]


def validate(predictions: Sequence[Prediction], measured: Sequence[Measured]) -> Validation:
    """Compare by point_id; a measured point that no prediction names counts as missing.

    InputError where no point is in both files.
    """
    by_id = {prediction.point_id: prediction for prediction in predictions}
    if not any(row.point.point_id in by_id for row in measured):
        raise InputError(
            "no point_id of the predictions is among the measurements",
            hint="predict the points that were measured",
        )
    groups: dict[str, Pairs] = {}
    total = Pairs("all")
    refusals: Counter[str] = Counter()
    for row in measured:
        prediction = by_id.get(row.point.point_id)
        group = groups.setdefault(row.group, Pairs(row.group))
        if prediction is None or prediction.status != "ok":
            refusals[prediction.reason if prediction else "not among the predictions"] += 1
            group.refused += 1
            total.refused += 1
            continue
        naive = _naive(row)
        for pairs in (group, total):
            _add(pairs, prediction, _restated(row), naive)
    return Validation(sorted(groups.values(), key=lambda pairs: pairs.name), total, refusals)


def _add(pairs: Pairs, prediction: Prediction, row: Measured, naive: dict[str, float]) -> None:
    for metric in METRICS:
        forecast, measured = getattr(prediction, metric), row.values[metric]
        if forecast is not None and measured is not None:
            low, high = prediction.band(metric) or (_NAN, _NAN)
            textbook = naive.get(metric, _NAN)
            pairs.rows[metric].append((forecast, measured, low, high, textbook))


def _restated(row: Measured) -> Measured:
    """The row with its throughput per GPU divided by the GPUs that it really had."""
    labelled, rate = row.point.n_gpus, row.values["out_tok_s_per_gpu"]
    if labelled is None or rate is None:
        return row
    with suppress(ServecastError):
        _, _, cut = deployment_of(row.point)
        return Measured(row.point, {**row.values, "out_tok_s_per_gpu": rate * labelled / cut.gpus})
    return row


def _naive(row: Measured) -> dict[str, float]:
    point = row.point
    with suppress(ServecastError):
        if point.decode is not None:
            prefill, decode = pools_of(point)
            share = clients_of(point) / point.decode.num_workers
            return naive_pools_ms(
                prefill.deployment, decode.deployment, point.isl, point.osl, share
            )
        return naive_ms(deployment_of(point).deployment, point.isl, point.osl, point.clients or 1)
    return {}


def _covered(table: Values) -> float:
    """Share of the rows with a band that hold their measurement; NaN where none has one."""
    banded = table[~np.isnan(table[:, 2])]
    if not len(banded):
        return _NAN
    inside = (banded[:, 2] <= banded[:, 1]) & (banded[:, 1] <= banded[:, 3])
    return float(inside.mean())


def _errors(forecast: Values, measured: Values) -> Errors:
    if not len(forecast):
        return Errors(0, _NAN, _NAN, _NAN, _NAN, _NAN)
    relative = forecast / measured - 1.0
    size = np.abs(relative)
    return Errors(
        count=len(forecast),
        mape=float(size.mean()),
        median=float(np.median(size)),
        p90=float(np.percentile(size, 90)),
        signed=float(np.median(relative)),
        rank=_spearman(forecast, measured),
    )


def _spearman(left: Values, right: Values) -> float:
    if len(left) < 3:
        return float("nan")
    a, b = _ranks(left), _ranks(right)
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread else float("nan")


def _ranks(values: Values) -> Values:
    """Ranks with ties at their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)
