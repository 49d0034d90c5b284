"""`servecast recommend`: which deployment serves this traffic under these SLOs most cheaply."""

from __future__ import annotations

import math
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import CalibrationFile, Json, NoColor, Quiet
from servecast.output import Output, counted, literal

if TYPE_CHECKING:
    from servecast.scenario import Scenario
    from servecast.search.recommend import Question
    from servecast.search.space import Candidate

TIMED_REQUESTS = 1000
"""How many requests a dry run simulates to tell how long the search will take."""

NO_DEPLOYMENT = 3
"""Exit code when no deployment meets the SLOs."""


def recommend(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="A scenario file; left out: Llama-3.1-70B on up to 8 H100, chat."),
    ] = None,
    current: Annotated[
        str | None, typer.Option(help="What you run today: 'vllm serve …'. The gain is against it.")
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Choices to look at beyond the estimate, at most.")
    ] = 64,
    runs: Annotated[Path, typer.Option(help="Folder for the run's files.")] = Path("runs"),
    calibration: CalibrationFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how large the space is and what would be done.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Find the best deployment and write the files that start it.

    Exit code 3 if none meets the SLOs: then the answer is the nearest miss and what it misses.
    """
    from servecast.calibration_file import calibrated
    from servecast.loading import builtin, load
    from servecast.question import question

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario) if scenario else builtin()
    fitted = calibrated(out, calibration, found)
    asked = question(found, trials=trials, current=current, calibration=fitted)
    if dry_run:
        _dry_run(out, found, asked, runs)
        return
    _answer(out, found, asked, runs)


def _answer(out: Output, scenario: Scenario, asked: Question, runs: Path) -> None:
    """Search, write the run's folder, print the answer."""
    from servecast.answer import answer_json, show_answer
    from servecast.run_directory import require_place, write_run
    from servecast.search.recommend import recommend as search

    for warning in scenario.warnings:
        out.note(warning)
    require_place(runs / scenario.name)
    with out.progress("reading") as bar:
        answer = search(asked, progress=bar.step, stage=bar.stage)
        bar.stage("writing files")
        written = write_run(runs / scenario.name, scenario, answer)
    if out.json_mode:
        out.data(answer_json(answer, written))
    else:
        show_answer(out, answer, written)
    if answer.best is None:
        raise typer.Exit(NO_DEPLOYMENT)


def _dry_run(out: Output, scenario: Scenario, asked: Question, runs: Path) -> None:
    from servecast.primitives.units import format_seconds
    from servecast.search.space import candidates, grouped

    found, cut = candidates(asked.space)
    looked_at = min(len(found), asked.trials)
    time_s = _time_s(asked, found[:looked_at])
    if out.json_mode:
        facts = {"choices": asked.space.size, "feasible": len(found), "cut": dict(cut)}
        plan = {"looked_at_most": looked_at, "time_s": time_s, "writes": str(runs / scenario.name)}
        out.data({**facts, **plan})
        return
    out.line(f"{counted(asked.space.size, 'choice')}, {len(found)} would start")
    for count, reason in grouped(cut):
        out.line(f"  {count} cut: {reason}")
    out.line(
        f"the estimate would price all {len(found)}; at most {looked_at} would be simulated, "
        f"with {len(asked.workload):,} requests each: about {format_seconds(time_s)} here"
    )
    out.line(f"files would be written under {literal(runs / scenario.name)}", whole=True)


def _time_s(asked: Question, looked_at: list[Candidate]) -> float:
    """Seconds that simulating them will take at most, from the speed of a small part of it."""
    from servecast.primitives.step_cost import CompiledStepCost
    from servecast.simulator.simulate import simulate
    from servecast.traces.reshape import head

    if not looked_at:
        return 0.0
    part = head(asked.workload, min(len(asked.workload), TIMED_REQUESTS))
    one = looked_at[0]
    deployment = one.with_replicas(one.max_replicas)
    cost = CompiledStepCost(deployment, asked.source, asked.host)
    simulate(deployment, part, cost=cost, memory=one.memory)  # compiles what later trials share
    begin = perf_counter()
    simulate(deployment, part, cost=cost, memory=one.memory)
    each = (perf_counter() - begin) * len(asked.workload) / len(part)
    tries = 1 + math.log2(max(candidate.max_replicas for candidate in looked_at))
    return each * tries * len(looked_at)
