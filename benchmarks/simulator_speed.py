"""Requests simulated per CPU-second, and peak memory, through the public `simulate`.

Every point runs in a fresh interpreter: the step cost is compiled anew, KV blocks are accounted,
records and run logs are kept, and the distributions of TTFT, TPOT, ITL and end-to-end latency are
taken at the end. Then the same requests go through the engine one step at a time, and through the
naive loop of the tests; all three must finish every request at the same nanosecond.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fresh_process import in_fresh_process, peak_bytes
from benchmarks.table import Row, show, write
from servecast.errors import InputError
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.admission import Admission
from servecast.simulator.engine import Engine
from servecast.simulator.records import Ints, merge
from servecast.simulator.replica_plan import scheduler_limits
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.traces.arrivals import Poisson
from servecast.traces.lengths import FixedLengths
from servecast.traces.presets import TrafficShape, preset
from servecast.traces.readers import read
from servecast.traces.reshape import head
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload
from tests.reference_engine import ReferenceEngine, Seq

RATES_PER_S = (4, 13, 30)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
TRACES = {
    "azure": "traces/azure2023_conv.csv.gz",
    "mooncake": "traces/mooncake_conversation.jsonl.gz",
}
DAY = "day"
"""A million requests of the preset `chat`, which is shaped on Azure's, in a day."""
DAY_REQUESTS, DAY_S = 1_000_000, 86_400
SHAPE = TrafficShape("fixed", lengths=FixedLengths(512, 128), arrivals=Poisson())


def deployment(traffic: str = "") -> Deployment:
    """Llama-3.1-8B on one H100, as the catalogue has them; eight, each with a prefix cache, for
    Mooncake's long prompts that begin alike."""
    alone = Deployment(
        model=model("meta-llama/Llama-3.1-8B-Instruct"),
        accelerator=accelerator("h100_sxm"),
        engine="vllm",
        engine_version="0.32",
        weights_dtype=Dtype.BF16,
        kv_cache_dtype=Dtype.BF16,
        max_model_len=16_384,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
    )
    if traffic != "mooncake":
        return alone
    return replace(alone, max_model_len=131_072, enable_prefix_caching=True, replicas=8)


def workload(traffic: str, requests: int) -> Workload:
    """Drawn at a rate such as `13/s`, or a trace's first requests, all where it has fewer."""
    if traffic in TRACES:
        trace = read(Path(os.environ["SERVECAST_DATA"]) / TRACES[traffic])
        return head(trace, min(requests, len(trace)))
    if traffic == DAY:
        return synthesize(preset("chat"), requests, rate_per_s=DAY_REQUESTS / DAY_S, seed=1)
    return synthesize(SHAPE, requests, rate_per_s=float(traffic.removesuffix("/s")), seed=1)


def measure(traffic: str, requests: int) -> dict[str, str | int | float]:
    """One point: simulate, read all metrics, and say what it took."""
    served_by, arriving = deployment(traffic), workload(traffic, requests)
    start_s = time.process_time()
    result = simulate(served_by, arriving)
    simulated_s = time.process_time() - start_s
    for distribution in (result.ttft, result.tpot, result.itl, result.e2e):
        if not np.isfinite(distribution.p99):
            raise InputError(f"traffic {traffic} has no p99 with {requests} requests")
    metrics_s = time.process_time() - start_s - simulated_s
    return {
        "traffic": traffic,
        "requests": requests,
        "requests/CPU-s": requests / simulated_s,
        "steps/CPU-s": _steps(result) / simulated_s,
        "steps/run": _steps(result) / sum(map(len, result.logs)),
        "simulate CPU s": simulated_s,
        "metrics CPU s": metrics_s,
        "peak MB": peak_bytes() / 1e6,
    }


def by_simulate(traffic: str, requests: int) -> tuple[float, Ints]:
    """CPU seconds of `simulate`, and when each request finished."""
    served_by, arriving = deployment(), workload(traffic, requests)
    start_s = time.process_time()
    result = simulate(served_by, arriving)
    return time.process_time() - start_s, result.records.finish_ns


def by_stepping(traffic: str, requests: int) -> tuple[float, Ints]:
    """The same of the engine that takes every decode step by itself."""
    served_by, arriving = deployment(), workload(traffic, requests)
    start_s = time.process_time()
    limits = scheduler_limits(served_by, ledger(served_by), arriving)
    cost = CompiledStepCost(served_by, RooflineSource())
    engine = Engine(limits, cost, stepping=True)
    for request in Admission(arriving, served_by.max_model_len).requests():
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return time.process_time() - start_s, merge([engine.recorder]).finish_ns


def by_reference(traffic: str, requests: int) -> tuple[float, Ints]:
    """The same of the tests' naive loop over steps and requests."""
    served_by, arriving = deployment(), workload(traffic, requests)
    start_s = time.process_time()
    limits = scheduler_limits(served_by, ledger(served_by), arriving)
    loop = ReferenceEngine(limits, CompiledStepCost(served_by, RooflineSource()))
    accepted = Admission(arriving, served_by.max_model_len).requests()
    done = loop.run(
        [Seq(r.index, r.arrival_ns, r.prompt_tokens, r.output_tokens) for r in accepted]
    )
    return time.process_time() - start_s, np.array([seq.finish_ns for seq in done])


def compare(traffic: str, requests: int, repeat: int) -> Row:
    """The three loops on the same requests; raises InputError if they do not agree."""
    loops = (by_simulate, by_stepping, by_reference)
    (skip_s, skip), (step_s, step), (naive_s, naive) = (
        _least(loop, traffic, requests, repeat) for loop in loops
    )
    if not (np.array_equal(skip, step) and np.array_equal(skip, naive)):
        raise InputError(f"the loops disagree on {requests} requests of traffic {traffic}")
    return {
        "traffic": traffic,
        "requests": requests,
        "skipping/stepping": step_s / skip_s,
        "skipping/reference": naive_s / skip_s,
        "skipping req/CPU-s": requests / skip_s,
        "stepping req/CPU-s": requests / step_s,
        "reference req/CPU-s": requests / naive_s,
    }


def main() -> None:
    """Measure all points and print them, the comparison first."""
    options = _options()
    traces = list(TRACES) if os.environ.get("SERVECAST_DATA") else []
    traffics = [f"{rate}/s" for rate in RATES_PER_S]
    compared = [compare(each, options.compare, options.repeat) for each in [*traffics, *traces[:1]]]
    show("the same requests three ways (ratios of CPU time)", compared)
    points = [(each, size) for each in traffics for size in options.sizes]
    points += [(each, len(workload(each, max(SIZES)))) for each in traces]
    points += [(DAY, size) for size in options.day]
    measured = [
        min((in_fresh_process(measure, *point) for _ in range(options.repeat)), key=_cpu_s)
        for point in points
    ]
    show("through simulate(deployment, workload)", measured)
    if not traces:
        print("\nSERVECAST_DATA is not set: the published traces were left out")
    if options.out:
        write(options.out, {"compared": compared, "simulate": measured})


def _steps(result: Result) -> int:
    return sum(int(log.column("steps").sum()) for log in result.logs)


def _cpu_s(row: Row) -> float:
    return float(row["simulate CPU s"])


def _least(
    loop: Callable[[str, int], tuple[float, Ints]], traffic: str, requests: int, repeat: int
) -> tuple[float, Ints]:
    runs = [in_fresh_process(loop, traffic, requests) for _ in range(repeat)]
    return min(runs, key=lambda run: run[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="requests per point")
    parser.add_argument(
        "--day", type=int, nargs="*", default=[DAY_REQUESTS], help="requests at a day's rate"
    )
    parser.add_argument("--compare", type=int, default=5000, help="requests of the comparison")
    parser.add_argument(
        "--repeat", type=int, default=3, help="processes per point; least CPU counts"
    )
    parser.add_argument("--out", type=Path, help="also write the tables: .json or .csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
