"""`servecast predict`: measured points forecast without their measurements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from servecast.profiler.predict import Prediction, SourceOf


class CostKind(StrEnum):
    """Where step costs come from."""

    ROOFLINE = "roofline"
    TABLES = "tables"


Points = Annotated[Path, typer.Argument(help="A CSV of points, as in docs/predict.md.")]
Costs = Annotated[
    CostKind,
    typer.Option(help="Step costs: the roofline, or measured tables (needs the extra `aic`)."),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="The CSV to write.")]


def predict(
    points: Points,
    output: Target,
    costs: Costs = CostKind.ROOFLINE,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Forecast benchmark points row by row.

    No row is dropped: one that cannot be forecast says why. Exit code 1 if none can be.
    """
    from servecast.profiler.predict import Predictor
    from servecast.profiler.prediction_file import predictions_csv
    from servecast.profiler.silicon_points import read_points
    from servecast.writing import require_writable, write_text

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    asked = read_points(points)
    require_writable(output.parent)
    found: list[Prediction] = []
    with out.progress(f"forecasting {counted(len(asked), 'point')}") as bar:
        for prediction in Predictor(_source_of(costs)).predict(asked):
            found.append(prediction)
            bar.step(len(found), len(asked))
    write_text(output, predictions_csv(found))
    _report(out, output, found)
    if all(prediction.status != "ok" for prediction in found):
        raise typer.Exit(1)


def _source_of(costs: CostKind) -> SourceOf | None:
    if costs is CostKind.ROOFLINE:
        return None
    from servecast.profiler.measured_costs import MeasuredCosts

    return MeasuredCosts()


def _report(out: Output, output: Path, found: list[Prediction]) -> None:
    from collections import Counter

    refusals = Counter(each.reason for each in found if each.status != "ok")
    forecast = len(found) - refusals.total()
    if out.json_mode:
        value = {"written": str(output), "points": len(found), "forecast": forecast}
        out.data({**value, "refused": dict(refusals.most_common())})
        return
    out.line(f"wrote {literal(output)}: {forecast:,} of {counted(len(found), 'point')} forecast")
    for reason, count in refusals.most_common():
        out.line(f"  {count:,} refused: {literal(reason)}")
