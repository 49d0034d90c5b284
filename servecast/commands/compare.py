"""`servecast compare`: two scenarios side by side, and which differences are more than chance."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.search.compare import Comparison, Difference
    from servecast.simulator.served import Served

_LOST = "no difference seen"


def compare(
    one: Annotated[Path, typer.Argument(help="A scenario file with every choice fixed.")],
    other: Annotated[Path, typer.Argument(help="Another one.")],
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Simulate two scenarios and tell change from chance.

    Scenarios of the same requests are compared in pairs.
    """
    from servecast.search.compare import compare as compared

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    with out.progress("simulating both"):
        runs = (_served(one), _served(other))
        found = compared(*runs)
    if out.json_mode:
        out.data(_document(runs, found))
    else:
        _show(out, (one, other), runs, found)


def _served(path: Path) -> Served:
    from servecast.api import simulate, simulate_fleet
    from servecast.loading import load

    scenario = load(path)
    return simulate_fleet(scenario) if scenario.is_fleet else simulate(scenario)


def _document(runs: tuple[Served, Served], found: Comparison) -> dict[str, object]:
    from servecast.tables import LATENCY_WORDS

    return {
        "paired": found.is_paired,
        "runs": [
            {
                "requests": run.arrived,
                "output_tokens_per_s": run.throughput,
                "gpu_hours": run.gpu_hours,
                "usd_per_million_output_tokens": run.usd(),
                "latency_s": {name: asdict(getattr(run, name)) for name in LATENCY_WORDS},
            }
            for run in runs
        ],
        "differences": [
            {
                "metric": each.metric,
                "statistic": each.statistic,
                "one_s": each.one,
                "other_s": each.other,
                "half_width_s": each.half_width,
                "seen": each.is_seen,
            }
            for each in found.differences
        ],
    }


def _show(
    out: Output, paths: tuple[Path, Path], runs: tuple[Served, Served], found: Comparison
) -> None:
    from servecast.primitives.units import format_rate

    names = [literal(path.stem) for path in paths]
    alike = "the same requests" if found.is_paired else "different requests, so not in pairs"
    out.line(f"{names[1]} against {names[0]}: {alike}\n")
    rows = [_row(each) for each in found.differences]
    out.table(("latency", *names, "difference", "± 95 %", ""), rows)
    out.line()
    for name, run in zip(names, runs, strict=True):
        usd = run.usd()
        price = "" if usd != usd else f", ${usd:,.2f} per million output tokens"
        out.line(f"{name}: {format_rate(run.throughput, 'tok')} output{price}")


def _row(each: Difference) -> tuple[str, ...]:
    from servecast.primitives.units import format_seconds

    def shown(seconds: float) -> str:
        return "–" if seconds != seconds else format_seconds(seconds)

    sign = "+" if each.value > 0 else "−" if each.value < 0 else ""
    share = abs(each.value) / each.one if each.one else float("nan")
    percent = "" if share != share else f" ({sign}{share:.0%})"
    verdict = _LOST
    if each.is_seen:
        verdict = "[red]slower[/]" if each.value > 0 else "[green]faster[/]"
    return (
        f"{each.metric}:{each.statistic}",
        shown(each.one),
        shown(each.other),
        f"{sign}{shown(abs(each.value))}{percent}",
        shown(each.half_width),
        verdict,
    )
