"""`servecast recommend`: which deployment serves this traffic under these SLOs most cheaply."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servecast.commands.options import Json, NoColor, Quiet
from servecast.output import Output

if TYPE_CHECKING:
    from servecast.scenario import Scenario
    from servecast.search.recommend import Question

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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how large the space is and what would be done.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    """Find the best deployment, say what it reaches, and write the files that start it."""
    from servecast.loading import builtin, load
    from servecast.question import question

    out = Output(json_mode=json, quiet=quiet, no_color=no_color)
    found = load(scenario) if scenario else builtin()
    asked = question(found, trials=trials, current=current)
    if dry_run:
        _dry_run(out, found, asked, runs)
        return
    _answer(out, found, asked, runs)


def _answer(out: Output, scenario: Scenario, asked: Question, runs: Path) -> None:
    """Search, write the run's folder, print the answer."""
    from servecast.answer import answer_json, show_answer
    from servecast.run_directory import write_run
    from servecast.search.recommend import recommend as search

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
    from servecast.search.space import candidates

    found, cut = candidates(asked.space)
    simulated = min(len(found), asked.trials)
    if out.json_mode:
        facts = {"choices": asked.space.size, "feasible": len(found), "cut": dict(cut)}
        out.data({**facts, "simulated_at_most": simulated, "writes": str(runs / scenario.name)})
        return
    out.line(f"{asked.space.size} choices, {len(found)} would start")
    for reason, count in cut.most_common():
        out.line(f"  {count} cut: {reason}")
    out.line(
        f"all {len(found)} would be priced by the estimate, at most {simulated} of them looked at "
        f"by simulating {len(asked.workload):,} requests"
    )
    out.line(f"files would be written under {runs / scenario.name}")
