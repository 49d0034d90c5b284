"""`servecast simulate`: one deployment under one workload, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import CalibrationFile, Json, NoColor, Quiet
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.choices import Choice
    from servecast.primitives.calibration import Calibration
    from servecast.scenario import Scenario


def simulate(
    scenario: Annotated[Path, typer.Argument(help="A scenario file with every choice fixed.")],
    at: Annotated[
        list[str] | None,
        typer.Option("--set", help="Fix an open choice: tensor_parallel_size=4. Repeatable."),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Write one row a request to this .csv or .csv.gz.")
    ] = None,
    calibration: CalibrationFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Simulate a scenario and show what it reaches.

    Exit code 3 if it misses an SLO or is overloaded.
    """
    from servecast.calibration_file import calibrated
    from servecast.loading import load

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario)
    fitted = calibrated(out, calibration, found)
    _simulate(out, found, choice_of(found, at or []), fitted, records)


def _simulate(
    out: Output,
    scenario: Scenario,
    choice: Choice,
    calibration: Calibration | None,
    records: Path | None,
) -> None:
    from servecast.domain import deployment, workload
    from servecast.primitives.corrected_source import default_source
    from servecast.primitives.roofline import RELATIVE_ERROR
    from servecast.search.band import reached
    from servecast.simulator.simulate import simulate as run
    from servecast.tables import result_json, show_reached, show_result
    from servecast.writing import write_records

    deployed, traffic = deployment(scenario, choice), workload(scenario)
    source = default_source(calibration)
    host = calibration.host if calibration else None
    with out.progress(f"simulating {len(traffic):,} requests"):
        result = run(deployed, traffic, source=source, host=host)
        bands = reached(result, traffic, scenario.slo, source, RELATIVE_ERROR, host)
    if records is not None:
        write_records(records, result)
    if out.json_mode:
        out.data(result_json(result, bands))
    else:
        show_result(out, result)
        show_reached(out, bands, RELATIVE_ERROR)
        if records is not None:
            out.note(f"\nwrote {literal(records)}")
    if result.is_overloaded or not all(band.is_met for band in bands):
        raise typer.Exit(3)


def choice_of(scenario: Scenario, settings: list[str]) -> Choice:
    """`name=value` texts as a choice among the values that the scenario lists."""
    from servecast.errors import InputError

    listed = scenario.space().open
    choice: dict[str, int | float | str] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError(
                f"--set `{setting}` is not of the form name=value",
                hint="write it as `--set tensor_parallel_size=4`",
            )
        known = {str(value): value for value in listed.get(name, ())}
        choice[name] = known.get(text, int(text) if text.isdecimal() else text)
    return choice
