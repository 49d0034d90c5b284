"""Llama-3.1-405B in FP8 on eight H100, four and eight MI300X: vLLM at the end of 2024.

Static batches and Poisson arrivals measured by dstack (dstackai/benchmarks, Apache-2.0), replayed
with the roofline; its P:D-disaggregated rows are not simulated. `SERVECAST_DATA=... python -m
benchmarks.dstack_replay`
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.development_part import published_data
from benchmarks.table import Row, show
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.corrected_source import default_source
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.primitives.step_costs import StepCosts
from servecast.simulator.result import Result
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay
from servecast.traces.workload import Workload

GPUS = {"H100-SXM-80GB": "h100_sxm", "MI300X": "mi300x"}
MODEL = "meta-llama/Llama-3.1-405B-FP8"
BUDGET, SEQUENCES = 512, 512
"""Tokens and sequences a step: stated for the online rows on H100, taken for all."""
READ_OFF_TOKENS = 75_000
"""What the KV cache of the eight H100 held: from there on larger batches take as much longer."""


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """What ran: whose checkpoint it was is a part of its name."""

    gpu: str
    ranks: int
    checkpoint: str


@dataclass(frozen=True, slots=True)
class Run:
    """One row: its requests, and what it measured (seconds of a batch, or output tokens/s)."""

    server: Server
    kind: str
    workload: Workload
    measured: float


def runs() -> Iterator[Run]:
    """The rows of this model; those of two replicas repeat one's, doubled, and are left out."""
    path = published_data() / "groundtruth" / "dstack_h100_mi300x_h200.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] == MODEL and "2FP8" not in row["note"]:
                checkpoint = "AMD" if "-amd" in row["note"] else "Meta"
                server = Server(row["gpu"], int(row["tp"]), checkpoint)
                if row["mode"] == "online":
                    rate, measured = float(row["request_rate"]), float(row["out_tok_per_s"])
                    load = _requests(row, int(float(row["n_requests"])), rate)
                    yield Run(server, "Poisson, tokens/s", load, measured)
                else:
                    load = _requests(row, int(float(row["batch_size"])), float("inf"))
                    kind = f"batches, prompts of {float(row['isl']):,.0f}"
                    yield Run(server, kind, load, float(row["e2e_mean_ms"]) / 1e3)


def _requests(row: dict[str, str], count: int, rate: float) -> Workload:
    """Requests of mean length, which is all that is known of theirs."""
    gaps = np.random.default_rng(0).exponential(1 / rate, count) if rate < float("inf") else 0.0
    arrivals = np.cumsum(np.broadcast_to(gaps, count) * 1e9).astype(np.int64)
    prompts, outputs = (np.full(count, round(float(row[n])), np.int64) for n in ("isl", "osl"))
    return Workload("dstack", arrivals, prompts, outputs, outputs)


def forecast(run: Run, costs: StepCosts, tokens: int | None = None) -> float:
    """What the run would measure; `tokens` is what the KV cache holds, left out: the ledger's."""
    longest = int((run.workload.prompt_tokens + run.workload.output_tokens).max())
    deployment = _deployment(run.server, longest)
    held = ledger(deployment).usable_blocks
    blocks = held if tokens is None else tokens // deployment.block_size
    limits = SchedulerLimits(SEQUENCES, BUDGET, longest, blocks)
    result = replay(deployment, run.workload, limits, costs.of(deployment))
    return _rate(result) if "tokens/s" in run.kind else float(result.records.finish_ns.max()) / 1e9


def _rate(result: Result) -> float:
    records = result.records
    return float(records.output_tokens.sum() / (records.finish_ns.max() / 1e9))


def _deployment(server: Server, longest: int) -> Deployment:
    return Deployment(
        model=model(MODEL),
        accelerator=accelerator(GPUS[server.gpu]),
        engine="vllm",
        engine_version="0.6",
        weights_dtype=Dtype.FP8,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=longest,
        max_num_seqs=SEQUENCES,
        max_num_batched_tokens=BUDGET,
        tensor_parallel_size=server.ranks,
    )


def summary(server: Server, kind: str, cache: str, errors: Sequence[float]) -> Row:
    """Median signed error and P90 of its size, in percent; one row."""
    found: NDArray[np.float64] = np.array(errors) * 100
    return {
        "server": f"{server.ranks} {server.gpu.partition('-')[0]}, {server.checkpoint}'s weights",
        "runs of": kind,
        "n": len(found),
        "KV cache": cache,
        "smallest load": f"{found[0]:+.0f}",
        "median": f"{np.median(found):+.0f}",
        "largest load": f"{found[-1]:+.0f}",
    }


def main() -> None:
    """Print a line for each server and kind of run."""
    groups: dict[tuple[Server, str], list[Run]] = defaultdict(list)
    for run in runs():
        groups[run.server, run.kind].append(run)
    rows: list[Row] = []
    for (server, kind), own in sorted(groups.items(), key=lambda item: item[0]):
        own.sort(key=lambda run: len(run.workload))
        costs = StepCosts(default_source())
        caches: dict[str, int | None] = {"ledger": None}
        if server.gpu.startswith("H100"):
            caches["read off"] = READ_OFF_TOKENS
        for cache, tokens in caches.items():
            errors = [forecast(run, costs, tokens) / run.measured - 1 for run in own]
            rows.append(summary(server, kind, cache, errors))
    show("Llama-3.1-405B, error in %", rows)


if __name__ == "__main__":
    main()
