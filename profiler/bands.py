"""How wide forecasts of benchmark points are: bands that hold nine measurements of ten.

`python -m benchmarks.accuracy` fits them and writes `data/bands.csv`; docs/predict.md has the rule.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from servecast.primitives import catalogue
from servecast.primitives.cost import Provenance
from servecast.primitives.memory_priors import has_experts
from servecast.profiler.silicon_points import SiliconPoint

BANDS_FILE = Path(__file__).parent / "data" / "bands.csv"

Circumstance = tuple[str, str, str]
"""Costs, kind of model, and which rows: the columns of the file that tell bands of one metric
apart."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a user knows before measuring, and what decides how far off a forecast is.

    The engine is not part of it: widths by engine cover groups outside the fit worse.
    """

    has_tables: bool
    """A decode step's time comes from measured tables, not from the roofline."""
    has_experts: bool
    is_own_sweep: bool
    """The server's flags and the client are unknown."""

    def circumstance(self, metric: str) -> Circumstance:
        """Which of a metric's bands is this family's: own sweeps differ in TTFT alone."""
        costs = "tables" if self.has_tables else "roofline"
        model = "experts" if self.has_experts else "dense"
        if metric == "tpot_ms":
            return costs, model, "all"
        return costs, model, "own sweep" if self.is_own_sweep else "flags known"


@dataclass(frozen=True, slots=True)
class Band:
    """Factors on a forecast between which the measurement is expected."""

    low: float
    high: float

    def around(self, forecast_ms: float) -> tuple[float, float]:
        """Lower and upper end, in ms."""
        return forecast_ms * self.low, forecast_ms * self.high


@cache
def shipped_bands() -> dict[tuple[str, Circumstance], Band]:
    """The file's bands by metric and circumstance."""
    with BANDS_FILE.open(encoding="utf-8", newline="") as file:
        return {
            (row["metric"], (row["costs"], row["model"], row["rows"])): Band(
                float(row["low"]), float(row["high"])
            )
            for row in csv.DictReader(file)
        }


def family_of(point: SiliconPoint, provenance: str) -> Family:
    """The family of a forecast. InputError where the catalogue lacks the model."""
    has_tables = provenance != Provenance.ROOFLINE.value
    return Family(has_tables, has_experts(catalogue.model(point.model)), point.is_own_sweep)


def tpot_band(family: Family) -> Band:
    """The band of mean TPOT."""
    return shipped_bands()["tpot_ms", family.circumstance("tpot_ms")]


def ttft_band(family: Family) -> Band:
    """The band of mean TTFT."""
    return shipped_bands()["ttft_ms", family.circumstance("ttft_ms")]
