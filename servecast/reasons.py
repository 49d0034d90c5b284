"""What the answer says besides its tables: prices, gains, what binds, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict

from servecast.choices import as_text
from servecast.engine_limits import own_name
from servecast.output import counted, literal
from servecast.primitives.deployment import Deployment
from servecast.primitives.stated_pool import StatedPool
from servecast.primitives.units import format_rate, format_seconds
from servecast.search.answers import Answer
from servecast.search.baseline import Baseline, gain
from servecast.search.recommend import Recommendation
from servecast.simulator.objective import Objective
from servecast.tables import quantity

TOLD_IF_OPEN = (
    "engine_version",
    "enable_expert_parallel",
    "max_model_len",
    "block_size",
    "enable_prefix_caching",
    "async_scheduling",
    "scheduling_policy",
    "long_prefill_token_threshold",
    "long_prefill_token_threshold_adaptive",
    "kv_offloading_size",
    "host_gb_per_s",
    "kv_loads",
    "gpu_memory_utilization",
    "num_gpu_blocks_override",
    "routing",
)
"""Options that a short line names where the space leaves them open, by vLLM's names."""

UNDEFINED = 1e5
"""A violation above this stands for a value that is not defined, as the TPOT of single tokens."""


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
    """An objective's value with its name or its unit in full."""
    figure = objective_figure(objective, value)
    if objective.name == "cost":
        return f"{figure} per million output tokens"
    if objective.name == "gpu_hours":
        return f"{figure} GPU-hours per million output tokens"
    if objective.name == "energy":
        return f"{figure} Wh per million output tokens"
    return f"{objective} {figure}"


def objective_figure(objective: Objective, value: float) -> str:
    """An objective's value under a heading that names it."""
    if objective.name == "cost":
        return f"${value:.2f}"
    if objective.name == "gpu_hours":
        return f"{value:.3g}"
    if objective.name == "energy":
        return f"{value:,.0f}"
    if objective.statistic is not None:
        return format_seconds(value)
    return format_rate(value, "tok" if objective.name == "throughput" else "")


def against(shown: Answer, baseline: Baseline, answer: Recommendation) -> str:
    """The gain against a baseline, and whether the baseline meets the SLOs at all.

    No gain where the answer itself meets no SLOs: it would compare two ways to fail.
    """
    other, objective = baseline.answer, answer.question.objectives[0]
    line = f"against {literal(baseline.name)} ({short_line(other, answer)}): "
    standing = "meets the SLOs" if other.is_feasible else _failing(other, answer)
    factor = gain(shown, other, objective)
    if answer.best is None or factor is None:
        return f"{line}it {standing}"
    if 0.995 <= factor < 1.005:
        return f"{line}the same {objective}; it {standing}"
    times = f"{factor:.2f}× better" if factor > 1 else f"{1 / factor:.2f}× worse"
    return f"{line}{objective} {times}; it {standing}"


def binding(answer: Recommendation) -> str:
    """Which SLO stands in the way, and by how much the nearest deployment misses it."""
    nearest = answer.shown
    if nearest.result is not None and nearest.result.is_overloaded:
        offered = format_rate(answer.question.workload.rate_per_s)
        served = format_rate(nearest.result.request_rate)
        return (
            f"Binding: capacity. {short_line(nearest, answer)} is overloaded: "
            f"{offered} requests arrive and it serves {served}"
        )
    slo, missed, reached = max(
        zip(answer.question.slos, nearest.violations, answer.reached, strict=True),
        key=lambda row: row[1],
    )
    if missed > UNDEFINED:
        return f"Binding: {slo}. It has no value here: no request has a second token"
    value = quantity(slo, reached.value)
    return f"Binding: {slo}. The nearest miss reaches {value}, off {_by(missed)}"


def way_out(answer: Recommendation) -> str:
    """What to change in the scenario when nothing meets the SLOs."""
    nearest = answer.shown
    if nearest.result is not None and nearest.result.is_overloaded:
        return "raise hardware.gpus, list larger max_num_seqs, or lower the workload's rate"
    if nearest.worst > UNDEFINED:
        return "take that SLO out, or give the workload longer answers"
    return "widen deployment's choices, take a faster hardware.gpu or more, or loosen the SLO"


def why(shown: Answer, rank: int, answer: Recommendation) -> list[str]:
    """Reasons in plain words, each from a figure of the search."""
    d, result = shown.deployment, shown.result
    if result is None:
        return [shown.reason]
    use = result.peak_blocks / result.num_blocks
    batch = result.records.e2e_ns.sum() / max(1.0, result.duration_s * 1e9) / d.replicas
    lines = [
        f"a replica holds {batch:.3g} requests on average; its KV cache is {use:.0%} full at most",
    ]
    tightest = max(
        zip(answer.question.slos, shown.violations, strict=True), key=lambda r: r[1], default=None
    )
    if tightest is not None and shown.is_feasible:
        lines.append(f"the tightest SLO is {tightest[0]}, with {-tightest[1]:.0%} to spare")
    others = {a.deployment.gpus for a in answer.answers if a.is_feasible and a.rung == "simulate"}
    if shown.is_feasible and rank == 1 and 1 < d.gpus == min(others, default=0):
        lines.append(f"no simulated deployment meets the SLOs on fewer than {d.gpus} GPUs")
    lines += _smaller_failed(shown, answer)
    sized = "KV blocks keep a margin for the priors"
    if isinstance(shown.candidate.memory, StatedPool):
        sized = "the KV pool is as large as stated, or as the engine's own arithmetic makes it"
    lines.append(f"step costs: roofline from the data sheet; {sized}")
    return lines


def found_by(answer: Recommendation) -> str:
    """How many points each rung saw, and why it stopped."""
    if answer.rungs:
        return _climbed(answer)
    looked = len(answer.answers)
    cut = sum(answer.cut.values())
    ruled_out = sum(trial.rung == "estimate" for trial in answer.answers)
    choices = counted(answer.choices, "choice")
    return (
        f"{choices}: {cut} would not start, {answer.priced} priced by the estimate, "
        f"{looked} looked at ({ruled_out} ruled out by the estimate) in "
        f"{counted(answer.simulations, 'simulation')}"
    )


def _climbed(answer: Recommendation) -> str:
    cut = sum(answer.cut.values())
    lines = [
        f"{counted(answer.choices, 'choice')}: {cut} would not start, {answer.priced} priced by "
        f"the estimate, at {counted(answer.rungs[0].points, 'number')} of replicas in all"
    ]
    lines += [
        f"{rung.name}: {counted(rung.points, 'point')}, {rung.disagreement:.1%} off what was "
        f"expected; {rung.stopped}"
        for rung in answer.rungs[1:]
    ]
    return "\n".join(lines)


def short_line(other: Answer, answer: Recommendation) -> str:
    """A deployment in a few words, with all in which it may differ from others of the space."""
    d, dimensions = other.deployment, answer.question.space.dimensions
    parts = [
        f"{d.replicas}×TP{d.tensor_parallel_size} {d.weights_dtype}",
        f"seqs {d.max_num_seqs}",
        f"tokens {d.max_num_batched_tokens}",
    ]
    if "gpu" in dimensions:
        parts.insert(0, d.accelerator.name)
    if "kv_cache_dtype" in dimensions:
        parts.append(f"{d.kv_cache_dtype} KV")
    if d.num_drafts or "num_speculative_tokens" in dimensions:
        parts.append(counted(d.num_drafts, "draft"))
    return ", ".join([*parts, *_told_if_open(d, dimensions)])


def _told_if_open(deployment: Deployment, dimensions: Collection[str]) -> Iterator[str]:
    """The engine's own choices by its names, and what it shares with vLLM by vLLM's."""
    d = deployment
    own = {} if d.policy is None else asdict(d.policy)
    for name in TOLD_IF_OPEN:
        theirs = own_name(d.engine, name)
        if theirs in dimensions and theirs not in own:
            yield f"{name} {as_text(getattr(d, name))}"
    for name, value in own.items():
        if name in dimensions:
            yield f"{name} {as_text(value)}"


def slack(other: Answer) -> str:
    """The smallest slack to an SLO as a share of its threshold; negative where it is missed."""
    if not other.violations:
        return "–"
    if _is_overloaded(other):
        return "overloaded"
    return "undefined" if other.worst > UNDEFINED else f"{-other.worst:.0%}"


def _is_overloaded(other: Answer) -> bool:
    """By its simulation, or by the estimate where that ruled it out."""
    if other.result is None:
        return other.reason.startswith("overloaded")
    return other.result.is_overloaded


def _failing(other: Answer, answer: Recommendation) -> str:
    """How a deployment that is not feasible fails."""
    if _is_overloaded(other):
        return "is overloaded"
    slo, missed = max(zip(answer.question.slos, other.violations, strict=True), key=lambda r: r[1])
    return f"misses {slo} {_by(missed)}"


def _by(missed: float) -> str:
    """By how much a threshold is missed, in words."""
    if missed > UNDEFINED:
        return "for want of a value"
    return f"by {missed:.0%}" if missed < 1 else f"by a factor of {1 + missed:.3g}"


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
    return [f"{short_line(nearest, answer)} {_failing(nearest, answer)}"]
