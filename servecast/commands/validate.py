"""`servecast validate`: predictions against measurements."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from servecast.profiler.validate import Pairs, Validation

_METRICS = {"tpot_ms": "TPOT", "ttft_ms": "TTFT", "out_tok_s_per_gpu": "tok/s/GPU"}


def validate(
    predictions: Annotated[Path, typer.Argument(help="What `servecast predict` wrote.")],
    measured: Annotated[Path, typer.Argument(help="The same points with what was measured.")],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Compare predictions with measurements."""
    from servecast.profiler.measured_points import read_measured
    from servecast.profiler.prediction_file import read_predictions
    from servecast.profiler.validate import validate as compare

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = compare(read_predictions(predictions), read_measured(measured))
    if out.json_mode:
        out.data(_document(found))
    else:
        _show(out, found)


def _document(found: Validation) -> dict[str, object]:
    from servecast.profiler.validate import NOISE_FLOOR

    floor = {m: {"median": median, "p90": p90} for m, (median, p90) in NOISE_FLOOR.items()}
    groups = [_group(pairs) for pairs in found.groups]
    refusals = dict(found.refusals.most_common())
    return {"groups": groups, "all": _group(found.total), "refused": refusals, "noise_floor": floor}


def _group(pairs: Pairs) -> dict[str, object]:
    metrics: dict[str, object] = {
        metric: {
            "forecast": asdict(pairs.errors(metric)),
            "naive_roofline": asdict(pairs.errors(metric, naive=True)),
        }
        for metric in _METRICS
    }
    return {"group": pairs.name, "refused": pairs.refused, **metrics}


def _show(out: Output, found: Validation) -> None:
    from servecast.profiler.validate import NOISE_FLOOR

    out.line(
        "error in %: mean, median, P90, signed median; rank correlation; within the 90 % band\n"
    )
    columns = (
        "group",
        "points",
        "metric",
        "MAPE",
        "median",
        "P90",
        "signed",
        "rank",
        "band",
        "naive",
    )
    rows = [row for pairs in (*found.groups, found.total) for row in _rows(pairs)]
    out.table(columns, rows, spare=("MAPE", "band", "rank"))
    floors = [f"{_METRICS[m]} {a:.1%} / {b:.0%}" for m, (a, b) in NOISE_FLOOR.items()]
    out.line(f"\nnaive: median of the textbook roofline; repeats differ by {', '.join(floors)}")
    out.line("(median / P90 of highest over lowest)")
    for reason, count in found.refusals.most_common():
        out.line(f"{counted(count, 'point')} not compared: {literal(reason)}")


def _rows(pairs: Pairs) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for metric, word in _METRICS.items():
        e = pairs.errors(metric)
        if not e.count:
            continue
        naive = pairs.errors(metric, naive=True)
        numbers = (_percent(e.mape), _percent(e.median), _percent(e.p90), _percent(e.signed, "+"))
        known = (_number(e.rank), _percent(e.covered), _percent(naive.median))
        rows.append((literal(pairs.name), str(e.count), word, *numbers, *known))
    return rows


def _percent(value: float, sign: str = "") -> str:
    return "–" if value != value else f"{value * 100:{sign}.1f}"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"
