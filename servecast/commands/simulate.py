"""`servecast simulate`: one deployment under one workload, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servecast.commands.options import (
    CalibrationFile,
    FixedScenario,
    Json,
    NoColor,
    Quiet,
    RecordedCosts,
    RecordsFile,
    Settings,
)
from servecast.output import Output, literal

if TYPE_CHECKING:
    from servecast.choices import Choice
    from servecast.pricing import Pricing
    from servecast.primitives.deployment import Deployment
    from servecast.scenario import Scenario


def simulate(
    scenario: FixedScenario,
    at: Settings = None,
    records: RecordsFile = None,
    calibration: CalibrationFile = None,
    costs: RecordedCosts = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Simulate a scenario and show what it reaches.

    Exit code 3 if it misses an SLO or is overloaded.
    """
    from servecast.domain import deployment
    from servecast.loading import load
    from servecast.pricing import pricing

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario)
    for warning in found.warnings:
        out.note(warning)
    if found.is_fleet:
        return _simulate_fleet(out, found, calibration, costs, records)
    deployed = deployment(found, choice_of(found, at or []))
    priced = pricing(out, found, deployed, calibration=calibration, costs=costs)
    _simulate(out, found, deployed, priced, records)


def _simulate(
    out: Output,
    scenario: Scenario,
    deployment: Deployment,
    priced: Pricing,
    records: Path | None,
) -> None:
    from servecast.class_table import show_classes
    from servecast.domain import workload
    from servecast.tables import result_json, show_reached, show_result
    from servecast.writing import write_records

    traffic = workload(scenario)
    with out.progress(f"simulating {len(traffic):,} requests"):
        result = priced.simulated(deployment, traffic)
        bands = priced.bands(result, traffic, scenario.slo)
    if records is not None:
        write_records(records, result)
    if out.json_mode:
        out.data(result_json(result, bands))
    else:
        show_result(out, result)
        if beyond := priced.unseen(result):
            out.line(beyond)
        show_classes(out, result, scenario.slo)
        show_reached(out, bands, priced.error)
        if records is not None:
            out.note(f"\nwrote {literal(records)}")
    if result.is_overloaded or not all(band.is_met for band in bands):
        raise typer.Exit(3)


def _simulate_fleet(
    out: Output,
    scenario: Scenario,
    calibration: Path | None,
    costs: Path | None,
    records: Path | None,
) -> None:
    from servecast.class_table import show_classes
    from servecast.domain import workload
    from servecast.errors import InputError
    from servecast.fleet_tables import fleet_json, show_fleet
    from servecast.fleets import fleet
    from servecast.primitives.corrected_source import default_source
    from servecast.primitives.roofline import RELATIVE_ERROR
    from servecast.search.band import fleet_reached
    from servecast.simulator.fleet.simulate_fleet import simulate_fleet
    from servecast.tables import show_reached
    from servecast.writing import write_records

    if calibration is not None or costs is not None:
        raise InputError(
            "--calibration and --costs are of one deployment, and the scenario has a fleet",
            hint="leave them out, or simulate a scenario of one pool alone",
        )
    traffic, source = workload(scenario), default_source()
    with out.progress(f"simulating {len(traffic):,} requests"):
        result = simulate_fleet(fleet(scenario), traffic, source=source)
        bands = fleet_reached(result, traffic, scenario.slo, source, RELATIVE_ERROR)
    if records is not None:
        write_records(records, result)
    if out.json_mode:
        out.data(fleet_json(result, bands))
    else:
        show_fleet(out, result)
        show_classes(out, result, scenario.slo)
        show_reached(out, bands, RELATIVE_ERROR)
        if records is not None:
            out.note(f"\nwrote {literal(records)}")
    if result.is_overloaded or not all(band.is_met for band in bands):
        raise typer.Exit(3)


def choice_of(scenario: Scenario, settings: list[str]) -> Choice:
    """`name=value` texts as a choice among the values that the scenario lists."""
    from servecast.choices import as_text
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
        known = {as_text(value): value for value in listed.get(name, ())}
        other = int(text) if text.isdecimal() else text
        choice[name] = known.get(text, known.get(text.lower(), other))
    return choice
