"""How one run of a fleet is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from servecast.class_table import classes_json
from servecast.output import Output, counted, literal
from servecast.primitives.units import format_rate, format_seconds
from servecast.search.band import Reached
from servecast.simulator.fleet.fleet import Pool
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.tables import (
    LATENCY_WORDS,
    deployment_json,
    deployment_line,
    reached_json,
    remarks,
    show_latencies,
)


def show_fleet(out: Output, result: FleetResult) -> None:
    """Its pools, latencies, rates and price, and what was out of the ordinary."""
    for pool in result.fleet.pools:
        served = counted(len(result.of_pool(pool)), "request")
        there = result.mean_replicas(pool)
        mean = "" if not result.fleet.changes else f", replicas on average: {there:.3g}"
        does = "hands on its prompts, " if pool.role == "prefill" else ""
        out.line(f"{literal(pool.name)} ({pool.role}): {does}{served} finished here{mean}")
        out.line(deployment_line(pool.deployment))
    requests = f"{counted(result.arrived, 'request')} of {literal(result.workload)}"
    out.line(f"{requests} in {format_seconds(result.duration_s)}\n")
    show_latencies(out, result)
    usd = result.usd()
    price = "" if usd != usd else f", ${usd:.2f} per million output tokens"
    out.line(
        f"\n{format_rate(result.throughput, 'tok')} output{price}, "
        f"{format_rate(result.request_rate)} requests, {result.gpu_hours:.3g} GPU-hours"
    )
    if result.wh_spent == result.wh_spent:
        out.line(f"{result.wh_spent:,.0f} Wh, {result.wh():,.0f} per million output tokens")
    if result.restarted:
        out.line(f"failures sent {counted(result.restarted, 'request')} back to the start")
    for line in remarks(result, [pool.deployment for pool in result.fleet.pools]):
        out.line(line)


def fleet_json(result: FleetResult, bands: Sequence[Reached]) -> Mapping[str, object]:
    """One run as JSON values; times in seconds."""
    return {
        "pools": [_pool_json(result, pool) for pool in result.fleet.pools],
        "workload": result.workload,
        "requests": result.arrived,
        "rejected": len(result.rejected),
        "truncated": result.truncated,
        "preemptions": result.preemptions,
        "cached_share": result.cached_share,
        "overloaded": result.is_overloaded,
        "duration_s": result.duration_s,
        "output_tokens_per_s": result.throughput,
        "requests_per_s": result.request_rate,
        "gpu_hours": result.gpu_hours,
        "restarted": result.restarted,
        "usd_per_million_output_tokens": _known(result.usd()),
        "energy_wh": _known(result.wh_spent),
        "wh_per_million_output_tokens": _known(result.wh()),
        "classes": classes_json(result, [band.slo for band in bands]),
        "latency_s": {name: asdict(getattr(result, name)) for name in LATENCY_WORDS},
        "slo": reached_json(bands),
    }


def _pool_json(result: FleetResult, pool: Pool) -> Mapping[str, object]:
    return {
        "name": pool.name,
        "role": pool.role,
        "requests": len(result.of_pool(pool)),
        "mean_replicas": result.mean_replicas(pool),
        "deployment": deployment_json(pool.deployment),
    }


def _known(value: float) -> float | None:
    return None if value != value else value
