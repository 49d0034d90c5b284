"""How results are shown: one run's figures, SLOs with their bands, deployments in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from servecast.choices import as_text
from servecast.class_table import classes_json
from servecast.engine_limits import own_name
from servecast.engine_names import UNVERIFIED
from servecast.output import Output, counted, literal
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import Policy
from servecast.primitives.speculation import Speculation
from servecast.primitives.units import format_rate, format_seconds, format_share
from servecast.search.band import Reached
from servecast.simulator.result import Result
from servecast.simulator.served import Served
from servecast.simulator.slo import Slo
from servecast.spending import spending_json, spending_lines

LATENCY_WORDS = {
    "ttft": "to the first token",
    "tpot": "per output token",
    "itl": "between tokens",
    "e2e": "to the last token",
}


_SAID_WHERE_OTHERWISE: Mapping[str, float | str | None] = {
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "all2all_backend": "allgather_reducescatter",
    "expert_imbalance": 1.0,
    "async_scheduling": False,
    "scheduling_policy": "fcfs",
    "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False,
    "kv_offloading_size": None,
    "host_gb_per_s": None,
    "kv_loads": "always",
}
"""Fields of a deployment that are told where they are not so."""


def deployment_line(deployment: Deployment) -> str:
    """What is deployed, in two lines: the hardware and formats, then the engine's own limits."""
    d = deployment
    replicas = "1 replica" if d.replicas == 1 else f"{d.replicas} replicas"
    parts = [
        f"{replicas} of {d.gpus_per_replica} × {d.accelerator.name}",
        f"{d.weights_dtype} weights, {d.kv_cache_dtype} KV",
    ]
    if d.enable_expert_parallel:
        parts.append("expert parallel")
    if d.drafting:
        drafts = counted(d.drafting.num_speculative_tokens, "draft")
        fewer = " by batch size" * bool(d.drafting.num_speculative_tokens_per_batch_size)
        parts.append(f"{d.drafting.method} {drafts}{fewer}")
    if d.replicas > 1:
        parts.append(d.routing.replace("_", " "))
    names = ("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens")
    limits = [f"{own_name(d.engine, name)} {getattr(d, name)}" for name in names]
    for name, unsaid in _SAID_WHERE_OTHERWISE.items():
        if getattr(d, name) != unsaid:
            limits.append(f"{name} {as_text(getattr(d, name))}")
    if d.engine == "vllm" and d.enable_prefix_caching:  # others have theirs unless told
        limits.append("enable_prefix_caching true")
    if d.policy is not None:
        limits += _policy_words(d.policy)
    return f"{' · '.join(parts)}\n{' · '.join(limits)}"


def _policy_words(policy: Policy) -> list[str]:
    """The first of an engine's own choices, and of the others those that are not its default."""
    stated, usual = asdict(policy), asdict(type(policy)())
    first = next(iter(stated))
    return [
        f"{name} {as_text(value)}"
        for name, value in stated.items()
        if name == first or value != usual[name]
    ]


def quantity(slo: Slo, value: float) -> str:
    """A value in the unit of what `slo` bounds."""
    if value != value:
        return "–"
    if slo.is_latency:
        return format_seconds(value)
    if slo.metric == "attainment":
        return format_share(value)
    return format_rate(value, "tok" if slo.metric == "throughput" else "")


def show_reached(out: Output, bands: Sequence[Reached], error: float) -> None:
    """Each SLO: what is reached, the band of the model's error, the sampling error, met or not."""
    if not bands:
        return
    rows = [
        (
            str(band.slo),
            quantity(band.slo, band.value),
            _span(quantity(band.slo, band.low), quantity(band.slo, band.high)),
            "–" if band.sampling != band.sampling else f"± {quantity(band.slo, band.sampling)}",
            verdict(band),
        )
        for band in bands
    ]
    out.line()
    out.table(("SLO", "reached", f"if steps ±{error:.0%}", "sampling 95 %", ""), rows)


def verdict(band: Reached) -> str:
    """Met, met at the forecast but not all over its band, or missed."""
    if not band.is_met:
        return "[red]missed[/]"
    return "[green]met[/]" if band.is_safe else "[yellow]met, band crosses it[/]"


def _span(low: str, high: str) -> str:
    """`239 to 473 ms`: the unit once where both have the same."""
    if low == high:
        return low
    figures, _, unit = low.rpartition(" ")
    return f"{figures if figures and high.endswith(f' {unit}') else low} to {high}"


def show_result(out: Output, result: Result) -> None:
    """One run: the deployment, latencies, rates, and what was out of the ordinary."""
    out.line(deployment_line(result.deployment))
    requests = f"{counted(result.arrived, 'request')} of {literal(result.workload)}"
    out.line(f"{requests} in {format_seconds(result.duration_s)}\n")
    show_latencies(out, result)
    out.line(
        f"\n{format_rate(result.throughput, 'tok')} output, {format_rate(result.request_rate)} "
        f"requests, KV blocks {result.peak_blocks:,} of {result.num_blocks:,} at most"
    )
    lines = (*spending_lines(result), *remarks(result, [result.deployment]), *_host_lines(result))
    for line in lines:
        out.line(line)


def _host_lines(result: Result) -> list[str]:
    """What came from host memory, where there is any for KV blocks."""
    if not result.tier_uses:
        return []
    loaded, stored = _moved_bytes(result)
    return [
        f"host memory: {result.host_share:.1%} of prompt tokens loaded"
        f" ({loaded / 1e9:,.1f} GB, {stored / 1e9:,.1f} GB stored)"
    ]


def _moved_bytes(result: Result) -> tuple[int, int]:
    """Loaded and stored, over all replicas."""
    uses = result.tier_uses
    return sum(use.loaded_bytes for use in uses), sum(use.stored_bytes for use in uses)


def show_latencies(out: Output, served: Served) -> None:
    """The percentiles of each latency."""
    columns = ("latency", "mean", "p50", "p90", "p95", "p99", "max")
    rows = [
        (f"{name} ({words})", *(_seconds(v) for v in asdict(getattr(served, name)).values()))
        for name, words in LATENCY_WORDS.items()
    ]
    out.table(columns, rows)


def remarks(result: Served, deployments: Sequence[Deployment]) -> list[str]:
    """What a reader must know of a run besides its figures; `deployments` are what served it."""
    engines = dict.fromkeys(deployment.engine for deployment in deployments)
    longest = own_name(next(iter(engines)), "max_model_len")
    unverified = [UNVERIFIED[engine] for engine in engines if engine in UNVERIFIED]
    lines = [f"[yellow]unverified[/]: {what}" for what in unverified]
    if result.is_overloaded:
        lines.append(
            "[red]overload[/]: requests arrive faster than they are served, the queue grows"
        )
    if len(result.rejected):
        lines.append(f"rejected: {counted(len(result.rejected), 'prompt')} beyond {longest}")
    if len(result.turned_away):
        lines.append(f"turned away by the gateway: {counted(len(result.turned_away), 'request')}")
    if result.truncated:
        cut = counted(result.truncated, "output")
        lines.append(f"cut short by max_tokens or {longest}: {cut}")
    if result.cached_share is not None:
        lines.append(f"prefix cache: {result.cached_share:.1%} of prompt tokens found")
    if result.preemptions:
        lines.append(f"{counted(result.preemptions, 'preemption')}: the KV cache ran out of blocks")
    return lines


def result_json(result: Result, bands: Sequence[Reached]) -> Mapping[str, object]:
    """One run as JSON values; times in seconds."""
    return {
        "deployment": deployment_json(result.deployment),
        "unverified": UNVERIFIED.get(result.deployment.engine),
        "workload": result.workload,
        "requests": result.arrived,
        "rejected": len(result.rejected),
        "turned_away": len(result.turned_away),
        "truncated": result.truncated,
        "preemptions": result.preemptions,
        "cached_share": result.cached_share,
        **_host_json(result),
        "overloaded": result.is_overloaded,
        "duration_s": result.duration_s,
        "output_tokens_per_s": result.throughput,
        "requests_per_s": result.request_rate,
        "kv_blocks": result.num_blocks,
        "kv_blocks_peak": result.peak_blocks,
        "latency_s": {name: asdict(getattr(result, name)) for name in LATENCY_WORDS},
        "slo": reached_json(bands),
        **spending_json(result),
        "classes": classes_json(result, [band.slo for band in bands]),
    }


def reached_json(bands: Sequence[Reached]) -> list[dict[str, object]]:
    """The SLOs as JSON values, in the unit of their threshold (seconds, share, per second)."""
    return [
        {
            "slo": str(band.slo),
            "value": band.value,
            "low": band.low,
            "high": band.high,
            "sampling_half_width": band.sampling,
            "met": band.is_met,
            "met_over_band": band.is_safe,
        }
        for band in bands
    ]


def _host_json(result: Result) -> Mapping[str, object]:
    if not result.tier_uses:
        return {}
    loaded, stored = _moved_bytes(result)
    return {
        "host_share": result.host_share,
        "host_loaded_bytes": loaded,
        "host_stored_bytes": stored,
    }


def deployment_json(deployment: Deployment) -> dict[str, object]:
    """A deployment by vLLM's option names, and another engine's own choices as `policy`; drafts,
    where there are any, as `speculation`."""
    d = deployment
    names = (
        "engine", "engine_version", "replicas", "tensor_parallel_size", "pipeline_parallel_size",
        "data_parallel_size", "enable_expert_parallel", "all2all_backend", "expert_imbalance",
        "max_model_len", "max_num_seqs", "max_num_batched_tokens", "block_size",
        "enable_prefix_caching",
        "async_scheduling", "scheduling_policy", "long_prefill_token_threshold",
        "long_prefill_token_threshold_adaptive", "kv_offloading_size", "host_gb_per_s",
        "kv_loads", "gpu_memory_utilization",
        "num_gpu_blocks_override", "routing", "gpus", "usd_per_gpu_hour",
    )  # fmt: skip
    return {
        "model": d.model.name,
        "gpu": d.accelerator.name,
        "weights_dtype": str(d.weights_dtype),
        "kv_cache_dtype": str(d.kv_cache_dtype),
        **{name: getattr(d, name) for name in names},
        **({} if d.policy is None else {"policy": asdict(d.policy)}),
        **({} if d.drafting is None else {"speculation": _drafting_json(d.drafting)}),
    }


def _drafting_json(drafting: Speculation) -> dict[str, object]:
    by_batch = drafting.num_speculative_tokens_per_batch_size
    return {
        "method": drafting.method,
        "model": drafting.draft.model.name if drafting.draft else None,
        "num_speculative_tokens": drafting.num_speculative_tokens,
        **({"num_speculative_tokens_per_batch_size": by_batch} if by_batch else {}),
        "acceptance": drafting.acceptance,
        "request_spread": drafting.request_spread,
    }


def _seconds(value: object) -> str:
    seconds = float(str(value))
    return "–" if seconds != seconds else format_seconds(seconds)
