"""llm-d's ladder on 16 H100: what a router that knows prefixes is worth, measured and simulated.

Qwen3-32B on 8 replicas of two GPUs (vLLM, SGLang) and gpt-oss-120b on 16 of one (vLLM), behind a
Kubernetes Service and behind llm-d's router (llm-d/llm-d guides/optimized-baseline/benchmark-
results, Apache-2.0). Nothing is fitted to it. `SERVECAST_DATA=... python -m
benchmarks.router_ladder [--html FILE]`
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.development_part import published_data
from benchmarks.ladder_page import draw
from benchmarks.shared_prefix_load import LADDER, SYSTEM_TOKENS, Stage, serve_ladder
from benchmarks.table import Row, show
from servecast.domain import deployment
from servecast.loading import loads
from servecast.primitives.deployment import Routing

SATURATED = 15.0
"""From this rate on the routers are compared."""
ARMS: Mapping[str, Routing] = {"round-robin": "round_robin", "prefix-affinity": "prefix_affinity"}
"""A simulated router for what the rows say of theirs."""
ENGINES = {
    "vllm": 'engine: {name: vllm, version: "0.32"}',
    "sglang": 'engine: {name: sglang, version: "0.5.23"}',
}
"""The releases that are simulated. Which ones were measured is not said."""
OPTIONS = {"vllm": "enable_prefix_caching: true, async_scheduling: true,", "sglang": ""}
"""What a scenario leaves off and the engine does by itself."""
STATED = {"openai/gpt-oss-120b": "gpu_memory_utilization: 0.95, max_model_len: 16384,"}
"""What a source says beside: the share; the length is ours, since the ledger has no room for the
model's own."""
REFRESH = "routing_options: {refresh: 50ms},"
"""llm-d's scheduler scrapes its replicas so often."""


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """What was deployed in one pair of ladders."""

    model: str
    engine: str
    replicas: int
    tensor_parallel_size: int
    question_tokens: int
    output_tokens: int

    @property
    def title(self) -> str:
        """A short name."""
        return f"{self.model.partition('/')[2]} {self.engine}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One row: NaN for what was not reported."""

    output_tokens_per_s: float
    ttft_p50_s: float
    ttft_p90_s: float


Ladders = dict[str, dict[float, Measured]]
"""By router and rate."""


def measured() -> dict[Server, Ladders]:
    """The published rows."""
    path = published_data() / "groundtruth" / "llmd_router_16xh100.csv"
    found: dict[Server, Ladders] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            question = round(float(row["isl"])) - SYSTEM_TOKENS
            sizes = int(row["dp"]), int(row["tp"]), question, round(float(row["osl"]))
            server = Server(row["model"], row["engine"], *sizes)
            arm = next(name for name in ARMS if name in row["note"])
            ladders = found.setdefault(server, {name: {} for name in ARMS})
            ladders[arm][float(row["request_rate"])] = Measured(
                float(row["out_tok_per_s"]),
                float(row["ttft_p50_ms"] or "nan") / 1e3,
                float(row["ttft_p90_ms"] or "nan") / 1e3,
            )
    return found


def simulated(server: Server, arm: str, rates: Sequence[float]) -> list[Stage]:
    """What the server would reach behind a router, at the engine's own defaults."""
    refresh = REFRESH if ARMS[arm] == "prefix_affinity" else ""
    scenario = loads(f"""
        model: {server.model}
        hardware: {{gpu: h100_sxm, gpus: {server.replicas * server.tensor_parallel_size}}}
        {ENGINES[server.engine]}
        deployment:
          {{replicas: {server.replicas}, tensor_parallel_size: {server.tensor_parallel_size},
           {OPTIONS[server.engine]} {STATED.get(server.model, "")} {refresh} routing: {ARMS[arm]}}}
        workload: {{synthetic: chat, requests: 1, rate: 1/s}}
        slo: []
        """)
    one = deployment(scenario)
    return serve_ladder(one, server.question_tokens, server.output_tokens, rates)


def comparison(
    seen: Ladders, said: Mapping[str, Sequence[Stage]], rates: Sequence[float]
) -> list[Row]:
    """A row for each rate: both routers, measured and simulated."""
    rows: list[Row] = []
    for number, rate in enumerate(rates):
        row: dict[str, str | int | float] = {"rate": rate}
        for arm, short in (("round-robin", "RR"), ("prefix-affinity", "PA")):
            there, here = seen[arm][rate], said[arm][number]
            row[f"{short} tok/s"] = round(there.output_tokens_per_s)
            row[f"{short} said"] = round(here.output_tokens_per_s)
            row[f"{short} TTFT p90 s"] = round(there.ttft_p90_s, 2)
            row[f"{short} TTFT said"] = round(here.ttft_p90_s, 2)
            row[f"{short} found"] = f"{here.cached_share:.0%}"
        rows.append(row)
    return rows


def gains(rows: Sequence[Row]) -> tuple[float, float]:
    """Median ratio of prefix affinity's output tokens to round robin's, measured and simulated."""
    busy = [row for row in rows if float(row["rate"]) >= SATURATED]
    there = [float(row["PA tok/s"]) / float(row["RR tok/s"]) for row in busy]
    here = [float(row["PA said"]) / float(row["RR said"]) for row in busy]
    return float(np.median(there)), float(np.median(here))


def main() -> None:
    """Print a table and the two gains for each server, and draw them where it is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--html", type=Path, help="draw the curves into this file")
    parser.add_argument("--model", default="", help="only models whose name holds this")
    parser.add_argument("--rates", type=float, nargs="+", choices=LADDER, default=list(LADDER))
    asked = parser.parse_args()
    drawn, gained = dict[str, list[Row]](), dict[str, str]()
    for server, seen in sorted(measured().items()):
        if asked.model in server.model:
            said = {arm: simulated(server, arm, asked.rates) for arm in ARMS}
            drawn[server.title] = rows = comparison(seen, said, asked.rates)
            show(server.title, rows)
            there, here = gains(rows)
            gained[server.title] = f"{there:.2f} measured, {here:.2f} simulated"
            print(f"gain from {SATURATED:g}/s on: {gained[server.title]}")
    if asked.html:
        draw(asked.html, drawn, gained)


if __name__ == "__main__":
    main()
