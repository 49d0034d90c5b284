"""`servecast emulate`: the same scenario by the real engine's own control loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from servecast.commands.simulate import choice_of
from servecast.output import Output, literal
from servecast.timewarp.mode import Front, Mode

if TYPE_CHECKING:
    from servecast.pricing import Pricing
    from servecast.primitives.deployment import Deployment
    from servecast.scenario import Scenario
    from servecast.search.band import Reached
    from servecast.timewarp.emulate import Emulation


BatchesFile = Annotated[
    Path | None,
    typer.Option("--batches", help="Write one line a step to this .jsonl: who was computed."),
]
Flow = Annotated[
    float | None,
    typer.Option(help="Charge the engine's own CPU time, times this, for modelled host time."),
]
Step = Annotated[
    bool, typer.Option("--step", help="Run the scheduler for each step: slower, and the same.")
]
Server = Annotated[
    bool,
    typer.Option("--server", help="Run vLLM's API server, asked by its own benchmark client."),
]
Processes = Annotated[
    bool, typer.Option("--processes", help="As --server, each of the two in its own process.")
]


def emulate(
    scenario: FixedScenario,
    at: Settings = None,
    records: RecordsFile = None,
    batches: BatchesFile = None,
    flow: Flow = None,
    step: Step = False,
    server: Server = False,
    processes: Processes = False,
    calibration: CalibrationFile = None,
    costs: RecordedCosts = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Run the real engine on a virtual device.

    vLLM, SGLang or transformers: `servecast doctor`. Exit code 3 if it misses an SLO or overloads.
    """
    from servecast.domain import deployment, require_one_pool
    from servecast.emulation import require_engine
    from servecast.loading import load
    from servecast.pricing import pricing

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario)
    require_one_pool(found)
    front = Front.PROCESSES if processes else Front.SERVER if server else Front.NONE
    mode = Mode(flow, step, log_batches=batches is not None, front=front)
    require_engine(found.engine.name, None, mode)  # before a long trace is read
    for warning in found.warnings:
        out.note(warning)
    deployed = deployment(found, choice_of(found, at or []))
    priced = pricing(out, found, deployed, calibration=calibration, costs=costs)
    emulation, bands = _emulated(out, found, deployed, priced, mode)
    _write(emulation, records, batches)
    _show(out, emulation, bands, priced)
    _show_written(out, records, batches)
    if emulation.result.is_overloaded or not all(band.is_met for band in bands):
        raise typer.Exit(3)


def _emulated(
    out: Output, scenario: Scenario, deployment: Deployment, priced: Pricing, mode: Mode
) -> tuple[Emulation, list[Reached]]:
    from servecast.domain import workload

    traffic = workload(scenario)
    with out.progress(f"emulating {len(traffic):,} requests"):
        emulation = priced.emulated(deployment, traffic, mode)
        return emulation, priced.bands(emulation.result, traffic, scenario.slo)


def _write(emulation: Emulation, records: Path | None, batches: Path | None) -> None:
    from servecast.writing import write_records, write_text

    if records is not None:
        write_records(records, emulation.result)
    if batches is not None:
        lines = (line for log in emulation.batches for line in log.lines())
        write_text(batches, "".join(lines))


def _show(out: Output, emulation: Emulation, bands: Sequence[Reached], priced: Pricing) -> None:
    from servecast.class_table import show_classes
    from servecast.emulation import facts, sentence
    from servecast.tables import result_json, show_reached, show_result

    if out.json_mode:
        out.data({**result_json(emulation.result, bands), "emulation": facts(emulation)})
        return
    show_result(out, emulation.result)
    show_classes(out, emulation.result, [band.slo for band in bands])
    if beyond := priced.unseen(emulation.result):
        out.line(beyond)
    show_reached(out, bands, priced.error)
    out.line(f"\n{sentence(emulation)}")


def _show_written(out: Output, *paths: Path | None) -> None:
    if not out.json_mode:
        for path in filter(None, paths):
            out.note(f"\nwrote {literal(path)}")
