"""`servecast emulate`: the same scenario by the real engine's own control loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import CalibrationFile, Json, NoColor, Quiet
from servecast.commands.simulate import choice_of
from servecast.output import Output, literal
from servecast.timewarp.mode import Mode

if TYPE_CHECKING:
    from servecast.choices import Choice
    from servecast.scenario import Scenario
    from servecast.search.band import Reached
    from servecast.timewarp.emulate import Emulation


def emulate(
    scenario: Annotated[Path, typer.Argument(help="A scenario file with every choice fixed.")],
    at: Annotated[
        list[str] | None,
        typer.Option("--set", help="Fix an open choice: tensor_parallel_size=4. Repeatable."),
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Write one row a request to this .csv or .csv.gz.")
    ] = None,
    batches: Annotated[
        Path | None, typer.Option(help="Write one line a step to this .jsonl: who was computed.")
    ] = None,
    flow: Annotated[
        float | None,
        typer.Option(help="Charge the engine's own CPU time, times this, for modelled host time."),
    ] = None,
    step: Annotated[
        bool, typer.Option("--step", help="Run the scheduler for each step: slower, and the same.")
    ] = False,
    calibration: CalibrationFile = None,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Run the real engine on a virtual device.

    vLLM, SGLang or transformers: `servecast doctor`. Exit code 3 if it misses an SLO or overloads.
    """
    from servecast.loading import load
    from servecast.timewarp.installation import require

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario)
    require(found.engine.name)  # before a long trace is read
    mode = Mode(flow, step, log_batches=batches is not None)
    emulation, bands = _emulated(out, found, choice_of(found, at or []), mode, calibration)
    _write(emulation, records, batches)
    _show(out, emulation, bands, [path for path in (records, batches) if path is not None])
    if emulation.result.is_overloaded or not all(band.is_met for band in bands):
        raise typer.Exit(3)


def _emulated(
    out: Output, scenario: Scenario, choice: Choice, mode: Mode, calibration: Path | None
) -> tuple[Emulation, list[Reached]]:
    from servecast.calibration_file import calibrated
    from servecast.domain import deployment, workload
    from servecast.emulation import host_time, rerun, run
    from servecast.primitives.corrected_source import default_source
    from servecast.primitives.roofline import RELATIVE_ERROR
    from servecast.search.band import reached

    fitted = calibrated(out, calibration, scenario)
    deployed, traffic = deployment(scenario, choice), workload(scenario)
    source, host = default_source(fitted), host_time(deployed, fitted)
    with out.progress(f"emulating {len(traffic):,} requests"):
        emulation = run(deployed, traffic, source, host, mode)
        again = rerun(deployed, traffic)
        bands = reached(
            emulation.result, traffic, scenario.slo, source, RELATIVE_ERROR, host, again
        )
    return emulation, bands


def _write(emulation: Emulation, records: Path | None, batches: Path | None) -> None:
    from servecast.writing import write_records, write_text

    if records is not None:
        write_records(records, emulation.result)
    if batches is not None:
        lines = (line for log in emulation.batches for line in log.lines())
        write_text(batches, "".join(lines))


def _show(
    out: Output, emulation: Emulation, bands: Sequence[Reached], written: Sequence[Path]
) -> None:
    from servecast.emulation import facts, sentence
    from servecast.primitives.roofline import RELATIVE_ERROR
    from servecast.tables import result_json, show_reached, show_result

    if out.json_mode:
        out.data({**result_json(emulation.result, bands), "emulation": facts(emulation)})
        return
    show_result(out, emulation.result)
    show_reached(out, bands, RELATIVE_ERROR)
    out.line(f"\n{sentence(emulation)}")
    for path in written:
        out.note(f"\nwrote {literal(path)}")
