"""The file of a fitted set of coefficients: values, how sure they are, what the fit is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import yaml
from pydantic import BaseModel

from benchmarks.coefficient_problem import Unknown, Values
from servecast.primitives.coefficients import Coefficients, CostKind, coefficients_path

COMMAND = "python -m benchmarks.fit_coefficients"


@dataclass(frozen=True, slots=True)
class FitReport:
    """A fit: the unknowns that were kept, their values, and the errors with and without."""

    kind: CostKind
    unknowns: Sequence[Unknown]
    place: Values
    left_out: Mapping[str, Values]
    """The place without each group."""
    rows: int
    scores: Mapping[str, float]
    errors: Mapping[str, Mapping[str, str]]
    """Median / P90 / signed median in percent by stage and metric."""


def file_text(report: FitReport, day: date) -> str:
    """The file's text."""
    places = np.array(list(report.left_out.values())).reshape(
        len(report.left_out), len(report.unknowns)
    )
    values = {
        unknown.name: _coefficient(unknown, report.place[index], places[:, index])
        for index, unknown in enumerate(report.unknowns)
    }
    left_out = {
        group: {
            unknown.name: _rounded(unknown.value(place[index]))
            for index, unknown in enumerate(report.unknowns)
        }
        for group, place in report.left_out.items()
    }
    document = {
        "costs": report.kind,
        "fit": {
            "command": COMMAND,
            "date": day.isoformat(),
            "rows": report.rows,
            "groups": len(report.left_out),
            "score": {name: round(value, 4) for name, value in report.scores.items()},
            "error_percent": {name: dict(each) for name, each in report.errors.items()},
        },
        "coefficients": values,
        "left_out": left_out,
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)


_HEAD = f"""\
# Written by `{COMMAND}`. Coefficients that are not listed have their default
# (`Coefficients`). spread: jackknife standard error over the groups; left_out: the values that
# all other groups lead to; errors: median / P90 / signed median of the sampled rows, simulated.
"""


def _coefficient(unknown: Unknown, place: float, left_out: Values) -> dict[str, float]:
    values = np.array([unknown.value(each) for each in left_out])
    count = len(values)
    spread = np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum())
    return {
        "value": _rounded(unknown.value(place)),
        "spread": _rounded(float(spread)),
        "low": unknown.low,
        "high": unknown.high,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


class FitHead(BaseModel):
    """How a file's set was fitted, and its errors by stage and metric."""

    command: str
    date: str
    rows: int
    groups: int
    score: dict[str, float]
    error_percent: dict[str, dict[str, str]]


class CoefficientFile(BaseModel):
    """A file of coefficients, read again."""

    costs: CostKind
    fit: FitHead
    coefficients: dict[str, dict[str, float]]
    left_out: dict[str, dict[str, float]]

    def left_out_sets(self) -> dict[str, Coefficients]:
        """Every group with the set that all other groups lead to."""
        return {group: Coefficients(**values) for group, values in self.left_out.items()}


def read_file(kind: CostKind) -> CoefficientFile:
    """The file that ships for these costs."""
    text = coefficients_path(kind).read_text(encoding="utf-8")
    return CoefficientFile.model_validate(yaml.safe_load(text))
