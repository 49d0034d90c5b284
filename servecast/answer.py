"""The answer block of `servecast recommend`, on the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from servecast.class_table import show_classes
from servecast.output import Output, counted, literal
from servecast.reasons import (
    against,
    binding,
    found_by,
    objective_figure,
    prices,
    short_line,
    slack,
    way_out,
    why,
)
from servecast.search.answers import Answer
from servecast.search.recommend import Recommendation
from servecast.simulator.result import Result
from servecast.spending import energy_lines
from servecast.tables import (
    deployment_json,
    deployment_line,
    reached_json,
    remarks,
    result_json,
    show_reached,
)

if TYPE_CHECKING:
    from servecast.run_directory import Written

RUNNERS_UP = 4


def show_answer(out: Output, answer: Recommendation, written: Written) -> None:
    """Print the whole answer."""
    out.line(f"[bold]{title(answer)}[/]\n")
    shown = answer.shown
    if answer.best is None:
        out.line("[red bold]No deployment of the space meets every SLO.[/]")
        out.line(binding(answer))
        out.line("\n[bold]Nearest miss[/]")
    else:
        out.line("[bold]Best deployment[/]")
    out.line(deployment_line(shown.deployment))
    show_reached(out, answer.reached, answer.question.relative_error)
    out.line()
    for line in prices(shown, answer):
        out.line(line)
    for baseline in answer.baselines:
        out.line(against(shown, baseline, answer))
        if baseline.omits:
            out.line(f"  (simulated without {', '.join(baseline.omits)})")
    if shown.result is not None:
        _show_run(out, shown.result, answer)
    _show_runners_up(out, answer)
    out.line("\n[bold]Why[/]")
    for line in why(shown, 1, answer):
        out.line(f"  {line}")
    out.line(f"\n{found_by(answer)}")
    if written.refusal is not None:
        out.line(f"\nno files to start it: {literal(written.refusal)}")
    elif answer.best is not None:
        out.line(f"\nstart it   {literal(written.start_command)}", whole=True)
        out.line(f"verify it  {literal(written.verify_command)}", whole=True)
    out.note(f"\neverything that was tried: {literal(written.folder)}")
    if answer.best is None:
        out.note(f"\nhint: {way_out(answer)}")


def _show_run(out: Output, result: Result, answer: Recommendation) -> None:
    for line in (*energy_lines(result), *remarks(result, [result.deployment])):
        out.line(line)
    show_classes(out, result, answer.question.slos)


def title(answer: Recommendation) -> str:
    """What was asked, in a line."""
    question, d = answer.question, answer.shown.deployment
    workload = question.workload
    pace = f"at {workload.rate_per_s:.3g}/s"
    if workload.concurrency is not None:
        pace = f"{workload.concurrency} at a time"
    kinds = question.space.dimensions.get("gpu", (d.accelerator.name,))
    gpus = f"up to {question.space.gpus} × {' or '.join(map(str, kinds))}"
    requests = f"{counted(len(workload), 'request')} of {literal(workload.name)}"
    return f"{literal(d.model.name)} · {requests} {pace} · {gpus}"


def answer_json(answer: Recommendation, written: Written) -> Mapping[str, object]:
    """The whole answer as JSON values."""
    best, shown = answer.best, answer.shown
    objectives = [str(objective) for objective in answer.question.objectives]
    return {
        "meets_slo": best is not None,
        "deployment": deployment_json(shown.deployment),
        "objectives": dict(zip(objectives, shown.values, strict=True)),
        "slo": reached_json(answer.reached),
        "relative_error": answer.question.relative_error,
        "result": None if shown.result is None else result_json(shown.result, answer.reached),
        "runners_up": [
            {
                "deployment": deployment_json(other.deployment),
                "objectives": dict(zip(objectives, other.values, strict=True)),
            }
            for other in answer.ranked[1 : RUNNERS_UP + 1]
        ],
        "baselines": {
            baseline.name: {
                "deployment": deployment_json(baseline.answer.deployment),
                "objectives": dict(zip(objectives, baseline.answer.values, strict=True)),
                "meets_slo": baseline.answer.is_feasible,
                "simulated_without": list(baseline.omits),
            }
            for baseline in answer.baselines
        },
        "binding": None if best is not None else binding(answer),
        "hint": None if best is not None else way_out(answer),
        "why": why(shown, 1, answer),
        "choices": answer.choices,
        "cut": dict(answer.cut),
        "priced": answer.priced,
        "simulations": answer.simulations,
        "run": str(written.folder),
        "no_files": written.refusal,
    }


def _show_runners_up(out: Output, answer: Recommendation) -> None:
    others = (
        answer.ranked[1 : RUNNERS_UP + 1] if answer.ranked else answer.misses[1 : RUNNERS_UP + 1]
    )
    if not others:
        return
    out.line(f"\n[bold]{'Runners-up' if answer.ranked else 'Further misses'}[/]")
    columns = ("deployment", *(str(o) for o in answer.question.objectives), "SLO slack")
    out.table(columns, (_row(other, answer) for other in others))


def _row(other: Answer, answer: Recommendation) -> list[str]:
    values = zip(answer.question.objectives, other.values, strict=True)
    figures = (objective_figure(objective, value) for objective, value in values)
    return [short_line(other, answer), *figures, slack(other)]
