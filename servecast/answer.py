"""The answer block of `servecast recommend`, and the reasons behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from servecast.output import Output, literal
from servecast.primitives.units import format_rate
from servecast.search.baseline import Baseline, gain
from servecast.search.evaluator import Answer
from servecast.search.recommend import Recommendation
from servecast.simulator.objective import Objective
from servecast.tables import (
    deployment_json,
    deployment_line,
    quantity,
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
    for line in remarks(shown.result) if shown.result is not None else []:
        out.line(line)
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


def title(answer: Recommendation) -> str:
    """What was asked, in a line."""
    question, d = answer.question, answer.shown.deployment
    workload = question.workload
    pace = (
        f"at {workload.rate_per_s:.3g}/s"
        if workload.concurrency is None
        else f"{workload.concurrency} at a time"
    )
    gpus = f"up to {question.space.gpus} × {d.accelerator.name}"
    requests = f"{len(workload):,} requests of {literal(workload.name)}"
    return f"{literal(d.model.name)} · {requests} {pace} · {gpus}"


def prices(shown: Answer, answer: Recommendation) -> list[str]:
    """The objectives' values, and how many GPUs they take."""
    d = shown.deployment
    at = "" if d.usd_per_gpu_hour is None else f" at ${d.usd_per_gpu_hour:.2f} an hour each"
    gpus = f"{d.gpus} of {answer.question.space.gpus} GPUs{at}"
    values = [
        f"{objective_text(objective, value)}"
        for objective, value in zip(answer.question.objectives, shown.values, strict=True)
    ]
    lines = [f"[bold]{', '.join(values)}[/] on {gpus}"]
    if shown.result is not None:
        lines.append(
            f"{format_rate(shown.result.throughput, 'tok')} output, "
            f"{format_rate(shown.result.request_rate)} requests"
        )
    return lines


def objective_text(objective: Objective, value: float) -> str:
    """An objective's value with its unit."""
    if objective.name == "cost":
        return f"${value:.2f} per million output tokens"
    if objective.name == "gpu_hours":
        return f"{value:.3g} GPU-hours per million output tokens"
    if objective.statistic is not None:
        return f"{objective} {value * 1e3:.4g} ms"
    return f"{objective} {format_rate(value, 'tok' if objective.name == 'throughput' else '')}"


def against(shown: Answer, baseline: Baseline, answer: Recommendation) -> str:
    """The gain against a baseline, and whether the baseline meets the SLOs at all."""
    other, objective = baseline.answer, answer.question.objectives[0]
    factor = gain(shown, other, objective)
    line = f"against {baseline.name} ({_short(other)})"
    verdict = "meets the SLOs" if other.is_feasible else f"misses {_worst_slo(other, answer)}"
    if factor is None:
        return f"{line}: {verdict}"
    return f"{line}: {objective} {factor:.2f}× better; it {verdict}"


def binding(answer: Recommendation) -> str:
    """Which SLO stands in the way, and by how much the nearest deployment misses it."""
    nearest = answer.shown
    if nearest.result is not None and nearest.result.is_overloaded:
        return (
            f"Binding: capacity. Even {_short(nearest)} is overloaded at "
            f"{answer.question.workload.rate_per_s:.3g} requests/s"
        )
    worst = max(
        zip(answer.question.slos, nearest.violations, answer.reached, strict=True),
        key=lambda row: row[1],
    )
    slo, missed, reached = worst
    return (
        f"Binding: {slo}. The nearest miss reaches {quantity(slo, reached.value)}, {missed:.0%} off"
    )


def why(shown: Answer, rank: int, answer: Recommendation) -> list[str]:
    """Reasons in plain words, each from a figure of the search."""
    d, result = shown.deployment, shown.result
    if result is None:
        return [shown.reason]
    use = result.peak_blocks / result.num_blocks
    batch = result.records.e2e_ns.sum() / max(1.0, result.duration_s * 1e9) / d.replicas
    lines = [
        f"a replica holds {batch:.0f} requests on average; its KV cache is {use:.0%} full at most",
    ]
    tightest = max(
        zip(answer.question.slos, shown.violations, strict=True), key=lambda r: r[1], default=None
    )
    if tightest is not None and shown.is_feasible:
        lines.append(f"the tightest SLO is {tightest[0]}, with {-tightest[1]:.0%} to spare")
    others = {a.deployment.gpus for a in answer.answers if a.is_feasible and a.rung == "simulate"}
    if shown.is_feasible and rank == 1 and others and min(others) == d.gpus:
        lines.append(f"no simulated deployment meets the SLOs on fewer than {d.gpus} GPUs")
    lines += _smaller_failed(shown, answer)
    lines.append("step costs: roofline from the data sheet; KV blocks keep a margin for the priors")
    return lines


def found_by(answer: Recommendation) -> str:
    """How many points each rung saw."""
    looked = len(answer.answers)
    cut = sum(answer.cut.values())
    ruled_out = sum(trial.rung == "estimate" for trial in answer.answers)
    return (
        f"{answer.choices} choices: {cut} would not start, {answer.priced} priced by the estimate, "
        f"{looked} looked at ({ruled_out} ruled out by the estimate) in {answer.simulations} simulations"
    )


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
    slack = f"{-other.worst:.0%}" if answer.question.slos else "–"
    return [_short(other), *(objective_text(o, v).split(" per ")[0] for o, v in values), slack]


def _short(answer: Answer) -> str:
    d = answer.deployment
    return (
        f"{d.replicas}×TP{d.tensor_parallel_size} {d.weights_dtype}, "
        f"seqs {d.max_num_seqs}, tokens {d.max_num_batched_tokens}"
    )


def _worst_slo(other: Answer, answer: Recommendation) -> str:
    if other.result is not None and other.result.is_overloaded:
        return "them all: it is overloaded"
    slo, missed = max(zip(answer.question.slos, other.violations, strict=True), key=lambda r: r[1])
    return f"{slo} by {missed:.0%}"


def _smaller_failed(shown: Answer, answer: Recommendation) -> list[str]:
    """Why the cheapest-looking alternative was not taken: fewer ranks a replica."""
    size = shown.deployment.tensor_parallel_size
    failed = [
        trial
        for trial in answer.answers
        if not trial.is_feasible
        and trial.result is not None
        and trial.deployment.tensor_parallel_size < size
    ]
    if not failed:
        return []
    nearest = min(failed, key=lambda trial: trial.worst)
    return [f"{_short(nearest)} misses {_worst_slo(nearest, answer)}"]
