"""`servecast predict`: measured points forecast without their measurements."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from servecast.profiler.measured_costs import MeasuredCosts
    from servecast.profiler.predict import Prediction


class CostKind(StrEnum):
    """Where step costs come from."""

    BEST = "best"
    ROOFLINE = "roofline"
    TABLES = "tables"


Points = Annotated[Path, typer.Argument(help="A CSV of points, as in docs/predict.md.")]
Costs = Annotated[
    CostKind,
    typer.Option(
        help="Step costs: measured tables (needs the extra `aic`), the roofline, or for each GPU "
        "the best of what is installed."
    ),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="The CSV to write.")]


def predict(
    points: Points,
    output: Target,
    costs: Costs = CostKind.BEST,
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
    tables = _tables(out, costs)
    found: list[Prediction] = []
    with out.progress(f"forecasting {counted(len(asked), 'point')}") as bar:
        for prediction in Predictor(tables).predict(asked):
            found.append(prediction)
            bar.step(len(found), len(asked))
    write_text(output, predictions_csv(found))
    _report(out, output, found)
    if all(prediction.status != "ok" for prediction in found):
        raise typer.Exit(1)


def _tables(out: Output, costs: CostKind) -> MeasuredCosts | None:
    """The measured tables, with the roofline behind them; None for the roofline alone.

    InputError where tables are asked for by name and not installed.
    """
    from servecast.errors import InputError
    from servecast.profiler.measured_costs import MeasuredCosts

    if costs is CostKind.ROOFLINE:
        return None
    try:
        return MeasuredCosts()
    except InputError as error:
        if costs is CostKind.TABLES:
            raise
        out.note(f"priced by the roofline alone: {literal(error.message)}")
        return None


def _report(out: Output, output: Path, found: list[Prediction]) -> None:
    from collections import Counter

    refusals = Counter(each.reason for each in found if each.status != "ok")
    origins = Counter(each.provenance for each in found if each.status == "ok")
    if out.json_mode:
        value = {"written": str(output), "points": len(found), "forecast": origins.total()}
        counts = {"mostly": dict(origins.most_common()), "refused": dict(refusals.most_common())}
        out.data({**value, **counts})
        return
    total = counted(len(found), "point")
    out.line(f"wrote {literal(output)}: {origins.total():,} of {total} forecast")
    for origin, count in origins.most_common():
        out.line(f"  {count:,} with most of a decode step {_MEANING[origin]}")
    for reason, count in refusals.most_common():
        out.line(f"  {count:,} refused: {literal(reason)}")


_MEANING = {
    "measured": "from measured kernels",
    "interpolated": "interpolated between measured kernels",
    "extrapolated": "extrapolated from measured kernels",
    "roofline": "from the roofline",
}
