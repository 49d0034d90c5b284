"""Fits the coefficients that ship, both sets, and rewrites their files with a report.

`SERVECAST_DATA=... python -m benchmarks.fit_coefficients [--costs roofline] [--rows 15]`

At most 15 rows of every group of one architecture, GPU and engine are simulated at the defaults
and with every coefficient moved by itself. From these slopes coefficients are chosen one at a time
while the error of groups left out falls by one percent of itself or more, at most five. Slopes are
taken again at the solution, and it is solved once more. The errors in the report are simulated, not
linear; where those of groups left out are not below the defaults', nothing is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from benchmarks.coefficient_file import FitReport, file_text
from benchmarks.coefficient_problem import UNKNOWNS, Problem, Unknown, Values, kept, score
from benchmarks.development_part import aggregated, group_of, is_set_aside, sample
from servecast.primitives.coefficients import Coefficients, CostKind, coefficients_path
from servecast.profiler.measured_costs import MeasuredCosts
from servecast.profiler.measured_points import Measured
from servecast.profiler.point_costs import SourceOf
from servecast.profiler.predict import Predictor

MOST = 5
METRICS = ("tpot_ms", "ttft_ms")


def log_ratios(
    rows: Sequence[Measured], source_of: SourceOf | None, coefficients: Coefficients
) -> Values:
    """ln of forecast over measurement by (TPOT, TTFT); NaN where nothing is forecast.

    TTFT of own sweeps is NaN too: it depends on a client that nobody knows.
    """
    forecast = Predictor(source_of, lambda _: coefficients).predict([row.point for row in rows])
    found = np.full((len(rows), len(METRICS)), np.nan)
    for index, (row, each) in enumerate(zip(rows, forecast, strict=True)):
        for column, metric in enumerate(METRICS[: 1 if row.point.is_own_sweep else 2]):
            value, measured = getattr(each, metric), row.values[metric]
            if value is not None and measured is not None:
                found[index, column] = np.log(value / measured)
    return found


def coefficients_at(unknowns: Sequence[Unknown], place: Values) -> Coefficients:
    """The defaults but for these unknowns."""
    pairs = zip(unknowns, place, strict=True)
    return replace(Coefficients(), **{each.name: each.value(float(at)) for each, at in pairs})


def problem(
    rows: Sequence[Measured],
    source_of: SourceOf | None,
    unknowns: Sequence[Unknown],
    place: Values,
) -> Problem:
    """Ratios and slopes around a place: one simulation of all rows, and one for each unknown."""
    here = log_ratios(rows, source_of, coefficients_at(unknowns, place))
    slopes = np.zeros((*here.shape, len(unknowns)))
    for index, unknown in enumerate(unknowns):
        moved = place.copy()
        moved[index] += unknown.step
        own = [i for i, row in enumerate(rows) if unknown.engine in (None, row.point.engine)]
        chosen = [rows[i] for i in own]
        change = log_ratios(chosen, source_of, coefficients_at(unknowns, moved)) - here[own]
        slopes[own, :, index] = np.nan_to_num(change) / unknown.step
    groups = np.array([group_of(row.point) for row in rows])
    return Problem(unknowns, place, here, slopes, groups)


def fitted(kind: CostKind, rows: Sequence[Measured], source_of: SourceOf | None) -> FitReport:
    """Chooses, solves, and simulates what the fit is worth."""
    start = np.array([each.default for each in UNKNOWNS])
    first = problem(rows, source_of, UNKNOWNS, start)
    chosen = first.only(kept(first, MOST))
    again = problem(rows, source_of, chosen.unknowns, chosen.solved())
    found = _report(kind, rows, source_of, again, first.log_ratios)
    if found.scores["left out"] < found.scores["defaults"]:
        return found
    return _report(kind, rows, source_of, first.only([]), first.log_ratios)


def _report(
    kind: CostKind,
    rows: Sequence[Measured],
    source_of: SourceOf | None,
    solved: Problem,
    defaults: Values,
) -> FitReport:
    place, left_out = solved.solved(), dict(solved.left_out())
    stages = {
        "defaults": defaults,
        "in-sample": log_ratios(rows, source_of, coefficients_at(solved.unknowns, place)),
        "left out": _left_out(rows, source_of, solved, left_out),
    }
    scores = {name: score(ratios, solved.groups) for name, ratios in stages.items()}
    errors = {name: _errors(ratios) for name, ratios in stages.items()}
    return FitReport(kind, solved.unknowns, place, left_out, len(rows), scores, errors)


def _left_out(
    rows: Sequence[Measured],
    source_of: SourceOf | None,
    solved: Problem,
    places: Mapping[str, Values],
) -> Values:
    found = np.empty_like(solved.log_ratios)
    for name, place in places.items():
        own = np.flatnonzero(solved.groups == name).tolist()
        coefficients = coefficients_at(solved.unknowns, place)
        found[own] = log_ratios([rows[index] for index in own], source_of, coefficients)
    return found


def _errors(ratios: Values) -> dict[str, str]:
    found: dict[str, str] = {}
    for column, metric in enumerate(METRICS):
        known = ratios[~np.isnan(ratios[:, column]), column]
        error = (np.exp(known) - 1) * 100
        median, tail = np.percentile(np.abs(error), [50, 90])
        found[metric] = f"{median:.1f} / {tail:.1f} / {np.median(error):+.1f}"
    return found


def usable(rows: Sequence[Measured]) -> list[Measured]:
    """The rows that are forecast, and ran as their labels say."""
    rows = [row for row in rows if not is_set_aside(row.point)]
    forecast = Predictor().predict([row.point for row in rows])
    return [row for row, each in zip(rows, forecast, strict=True) if each.status == "ok"]


def main() -> None:
    """Write the files of both sets, or of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs", choices=("roofline", "tables"), help="one set alone")
    parser.add_argument("--rows", type=int, default=15, help="of every group, at most")
    asked = parser.parse_args()
    rows = usable(sample(aggregated(), asked.rows))
    kinds: tuple[CostKind, ...] = ("roofline", "tables")
    for kind in kinds:
        if asked.costs in (None, kind):
            report = fitted(kind, rows, MeasuredCosts() if kind == "tables" else None)
            text = file_text(report, datetime.now(UTC).date())
            coefficients_path(kind).write_text(text, encoding="utf-8")
            print(text)


if __name__ == "__main__":
    main()
