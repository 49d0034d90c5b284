"""Forecasts all of the development part by both kinds of costs, and rewrites the tables of errors.

`SERVECAST_DATA=... python -m benchmarks.accuracy [--out FOLDER]`

By measured tables only with the extra `aic`: without it nothing is rewritten. Fits the bands anew
(`profiler/data/bands.csv`). Coefficients are those of `benchmarks.fit_coefficients`; "left out" is
a second forecast of each group's points by what all other groups lead to.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks import accuracy_tables as tables
from benchmarks import disaggregated_rows
from benchmarks.accuracy_sections import Forecasts, Scores, scores
from benchmarks.band_widths import file_text, widths
from benchmarks.coefficient_file import read_file
from benchmarks.development_part import aggregated, by_group, sample
from benchmarks.fit_coefficients import usable
from benchmarks.marked_text import rewrite
from benchmarks.roofline_left_out import left_out_rooflines
from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.roofline import RooflineSource
from servecast.profiler.bands import BANDS_FILE, shipped_bands
from servecast.profiler.measured_costs import MeasuredCosts
from servecast.profiler.measured_points import Measured
from servecast.profiler.point_costs import SourceOf
from servecast.profiler.predict import Predictor
from servecast.profiler.prediction_file import predictions_csv

ROOT = Path(__file__).parents[1]
SAMPLED = 15
"""Rows of every group that tell how far the roofline leans on it."""


def forecasts(
    kind: CostKind, source_of: SourceOf, rows: list[Measured], sources: Mapping[str, SourceOf]
) -> Forecasts:
    """Every row by the coefficients that ship, and by those of all groups but its own.

    `sources` has the costs without a group, where they lean on it.
    """
    predicted = list(Predictor(source_of).predict([row.point for row in rows]))
    left_out = {each.point_id: each for each in predicted}
    sets = read_file(kind).left_out_sets()
    for name, own in by_group(rows).items():
        chosen, source = sets.get(name, shipped(kind)), sources.get(name, source_of)
        if chosen != shipped(kind) or source is not source_of:
            again = Predictor(source, partial(_coefficients, kind, chosen))
            found = again.predict([row.point for row in own])
            left_out |= {each.point_id: each for each in found}
    return Forecasts(rows, predicted, [left_out[each.point_id] for each in predicted])


def by_both(rows: list[Measured]) -> dict[CostKind, Forecasts]:
    """The forecasts by measured tables and by the roofline."""
    sampled = usable(sample(rows, SAMPLED))
    without = {
        name: source_of(RooflineSource(found))
        for name, found in left_out_rooflines(sampled).items()
    }
    return {
        "tables": forecasts("tables", MeasuredCosts(), rows, {}),
        "roofline": forecasts("roofline", source_of(RooflineSource()), rows, without),
    }


def source_of(source: RooflineSource) -> SourceOf:
    """The same costs for every deployment."""
    return lambda _: source


def _coefficients(kind: CostKind, own: Coefficients, asked: CostKind) -> Coefficients:
    """Devices without tables are priced by the roofline, with the set that ships for it."""
    return own if asked == kind else shipped(asked)


def keep(folder: Path, kind: CostKind, found: Forecasts) -> None:
    """Write the predictions as `servecast predict` would."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in (("shipped", found.shipped), ("left_out", found.left_out)):
        (folder / f"{kind}_{name}.csv").write_text(predictions_csv(own), encoding="utf-8")


def fit_bands(found: Mapping[CostKind, Forecasts]) -> None:
    """Write the bands of both kinds of costs, and have them used from here on."""
    fitted = [
        width
        for kind, own in found.items()
        for width in widths(own.measured, own.shipped, own.left_out)
        if width.circumstance[0] == kind
    ]
    BANDS_FILE.write_text(file_text(fitted), encoding="utf-8")
    shipped_bands.cache_clear()


def documents(found: Mapping[CostKind, Scores], pools: str) -> dict[str, dict[str, str]]:
    """The marked parts of every document, by its path; `pools` is that of disaggregated rows."""
    engines = {f"errors by {kind}": tables.by_engine(s) for kind, s in found.items()}
    families = {f"families by {kind}": tables.by_family(s) for kind, s in found.items()}
    rows = {"refusals": tables.refusals(next(iter(found.values())).refusals)}
    fit = {"coefficients": tables.coefficients(list(found)), "ranks": tables.ranks(found)}
    return {
        "README.md": {"accuracy": tables.headline(found)},
        "docs/accuracy.md": engines | {disaggregated_rows.PART: pools} | rows | fit,
        "docs/predict.md": families | {"bands": tables.bands(BANDS_FILE)},
    }


def main() -> None:
    """Forecast, fit the bands, score, and rewrite the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep the predictions in this folder")
    out: Path | None = parser.parse_args().out
    found = by_both(aggregated())
    for kind, each in found.items():
        if out is not None:
            keep(out, kind, each)
    fit_bands(found)
    scored: dict[CostKind, Scores] = {kind: scores(each) for kind, each in found.items()}
    for name, parts in documents(scored, disaggregated_rows.part()).items():
        rewrite(ROOT / name, parts)
        for part, text in parts.items():
            print(f"\n{name}: {part}\n{text}")


if __name__ == "__main__":
    main()
