"""Long prompts and short answers on a node that nobody named: InferenceX's token-position runs.

Closed loops over prompt length and load, vLLM's nightly build of February 2026 (SemiAnalysisAI/
InferenceX, Apache-2.0; its README calls them experimental). The GPU is not stated, so every
candidate is forecast; then the one factor on all device times is sought by which each server
answers as many requests as forecast, to see what is left. `SERVECAST_DATA=... python -m
benchmarks.tokenpos_replay`
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.development_part import published_data
from benchmarks.table import Row, show
from servecast.errors import ServecastError
from servecast.primitives.corrected_source import default_source
from servecast.primitives.step_costs import StepCosts
from servecast.profiler.benchmark_client import benchmark_workload
from servecast.profiler.engine_memory import kv_blocks
from servecast.profiler.point_deployment import deployment_of
from servecast.profiler.silicon_points import SiliconPoint
from servecast.search.band import Scaled
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay

GPUS = ("h100_sxm", "h200_sxm", "b200_sxm")
"""Eight of these share a node."""
SEARCHED = "h200_sxm"
"""For which the factor is sought: the smallest on which all of them have room."""
METRICS = ("TTFT p50", "TPOT p50", "requests/s")


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: what was served, and the metrics in their order."""

    server: str
    point: dict[str, str]
    measured: tuple[float, float, float]


def runs() -> Iterator[Run]:
    """The file's runs; lengths are exact, as its token rates show."""
    path = published_data() / "groundtruth" / "inferencex_tokenpos_2026.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cut = "dep8" if row["dp"] == "8" else "tep8" if row["ep"] == "8" else "tp8"
            name = row["model"].rpartition("/")[2]
            ttft_ms, tpot_ms = float(row["ttft_p50_ms"]), float(row["tpot_p50_ms"])
            yield Run(f"{name} {cut}", _point(row), (ttft_ms, tpot_ms, float(row["req_per_s"])))


def _point(row: dict[str, str]) -> dict[str, str]:
    return {
        **{name: row[name] for name in ("point_id", "model", "engine", "isl", "osl")},
        "engine_version": "0.16",
        "precision": "fp8" if row["precision"] == "fp8" else "bf16",
        "concurrency": row["concurrency"],
        "tp_size": row["tp"],
        "attention_dp_size": row["dp"],
        "moe_tp_size": str(8 // int(row["ep"])),
        "moe_ep_size": row["ep"],
        "origin": "tokenpos",
    }


def forecast(
    run: Run, gpu: str, factor: float, costs: dict[object, StepCosts]
) -> tuple[float, float, float]:
    """The run's metrics on a GPU. Raises ServecastError for what is not simulated or has no room.

    `costs` keeps what was compiled for this factor.
    """
    point = SiliconPoint.model_validate({**run.point, "gpu": gpu})
    deployment, launch, cut = deployment_of(point)
    if launch.host not in costs:
        costs[launch.host] = StepCosts(Scaled(default_source(), factor), host=launch.host)
    cost = costs[launch.host]
    limits = SchedulerLimits(
        deployment.max_num_seqs,
        deployment.max_num_batched_tokens,
        deployment.max_model_len,
        kv_blocks(deployment, launch, point.isl + point.osl),
    )
    all_clients = point.clients or 1
    clients = cut.clients_a_rank(all_clients)
    workload = benchmark_workload(clients, point.isl, point.osl, exact=True)
    result = replay(
        deployment, workload, limits, cost.of(deployment), schedules_ahead=launch.schedules_ahead
    )
    records = result.records
    rate = all_clients / clients * len(records) / (float(records.finish_ns.max()) / 1e9)
    ttft_ms = float(np.median(records.ttft_ns)) / 1e6
    return ttft_ms, float(np.median(records.tpot_ns)) / 1e6, rate


def errors(
    own: Sequence[Run], gpu: str, factor: float = 1.0
) -> tuple[NDArray[np.float64], Counter[str]]:
    """Relative errors of a server's runs, one row a run; why some have none."""
    refused: Counter[str] = Counter()
    found: list[list[float]] = []
    costs: dict[object, StepCosts] = {}
    for run in own:
        try:
            values = forecast(run, gpu, factor, costs)
        except ServecastError as error:
            refused[error.message.partition(",")[0]] += 1
            continue
        found.append([a / b - 1 for a, b in zip(values, run.measured, strict=True)])
    return np.array(found).reshape(-1, len(METRICS)), refused


def factor_of(own: Sequence[Run], gpu: str) -> float:
    """By how much longer the device takes, for the median run's rate to be as measured."""
    low, high = 0.1, 100.0
    while high / low > 1.02:
        middle = float(np.sqrt(low * high))
        is_too_fast = np.median(errors(own, gpu, middle)[0][:, 2]) > 0
        low, high = (middle, high) if is_too_fast else (low, middle)
    return float(np.sqrt(low * high))


def summary(server: str, gpu: str, factor: float, found: NDArray[np.float64]) -> Row:
    """Median signed error and P90 of its size."""
    signed, tails = np.median(found, axis=0), np.percentile(np.abs(found), 90, axis=0)
    cells = {
        f"{name} off %": f"{middle * 100:+.0f} ({tail * 100:.0f})"
        for name, middle, tail in zip(METRICS, signed, tails, strict=True)
    }
    return {
        "server": server,
        "GPU": gpu,
        "device time": f"× {factor:.2f}",
        "n": len(found),
        **cells,
    }


def main() -> None:
    """Print a line for each server and candidate, and one with the factor that meets its rate."""
    every, rows = list(runs()), list[Row]()
    for server in dict.fromkeys(run.server for run in every):
        own = [run for run in every if run.server == server]
        for gpu in GPUS:
            found, refused = errors(own, gpu)
            rows += [summary(server, gpu, 1.0, found)] if len(found) else []
            for reason, count in refused.items():
                print(f"{server} on {gpu}: {count} runs refused: {reason}")
        factor = factor_of(own, SEARCHED)
        rows.append(summary(server, SEARCHED, factor, errors(own, SEARCHED, factor)[0]))
    show("error in %, median (P90 of its size)", rows)


if __name__ == "__main__":
    main()
