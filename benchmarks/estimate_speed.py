"""Deployments priced per CPU-second: by the arrays of the estimate, and by the whole way to them.

The first row is the closed form alone over a grid of limits, one call for each step cost and token
budget, step costs compiled anew. The others are what a search does with a scenario: build every
choice and check that it would start, then price those that would.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.fresh_process import in_fresh_process, peak_bytes
from benchmarks.simulator_speed import deployment
from benchmarks.table import Row, show, write
from servecast.domain import workload as workload_of
from servecast.loading import loads
from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.step_costs import StepCosts
from servecast.question import space_of
from servecast.search.estimate import Limits, estimate
from servecast.search.evaluator import Evaluator
from servecast.search.space import candidates
from servecast.search.traffic import Traffic
from servecast.traces.synthesize import synthesize

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
TOKEN_BUDGETS = tuple(range(1024, 11_264, 1024))
REPLICAS = np.arange(1, 26)
MAX_NUM_SEQS = np.arange(5, 1005, 5)
SCENARIO = """
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 8, usd_per_gpu_hour: 2.99}
engine: {name: vllm, version: "0.32"}
deployment:
  tensor_parallel_size: [1, 2, 4, 8]
  replicas: {from: 1, to: 8, step: 1}
  max_model_len: 16384
  max_num_seqs: {from: 16, to: 512, step: 16}
  max_num_batched_tokens: {from: 1024, to: 8192, step: 1024}
workload: {synthetic: chat, requests: 2000, rate: 20/s}
slo: "tpot:p95 < 40ms"
objective: cost
"""


def closed_form() -> Row:
    """The estimate of 200,000 deployments given as columns."""
    traffic = Traffic.of(synthesize("chat", 2000, rate_per_s=100.0), deployment().max_model_len)
    start_s = time.process_time()
    priced = 0
    for size in TENSOR_PARALLEL_SIZES:
        served_by = replace(
            deployment(),
            tensor_parallel_size=size,
            max_num_seqs=int(MAX_NUM_SEQS[-1]),
            max_num_batched_tokens=TOKEN_BUDGETS[-1],
        )
        cost, memory = CompiledStepCost(served_by, RooflineSource()), ledger(served_by)
        limits = _grid(memory.usable_blocks * served_by.block_size)
        for budget in TOKEN_BUDGETS:
            priced += len(estimate(cost, budget, traffic, limits).utilisation)
    return _row("estimate, columns in and out", priced, time.process_time() - start_s)


def whole_way() -> list[Row]:
    """From a scenario: all its choices built and checked, those that would start priced."""
    scenario = loads(SCENARIO)
    space, arriving = space_of(scenario), workload_of(scenario)
    start_s = time.process_time()
    found, _ = candidates(space)
    built_s = time.process_time()
    costs = StepCosts(RooflineSource(), [candidate.deployment for candidate in found])
    evaluator = Evaluator(arriving, scenario.slo, scenario.objective, costs, fewest_replicas=False)
    evaluator.estimate(found, [candidate.deployment.replicas for candidate in found])
    priced_s = time.process_time()
    return [
        _row("search.space.candidates", space.size, built_s - start_s),
        _row("Evaluator.estimate", len(found), priced_s - built_s),
        _row("both, per choice", space.size, priced_s - start_s),
    ]


def main() -> None:
    """Measure each in a fresh interpreter, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the table: .json or .csv")
    options = parser.parse_args()
    rows = [in_fresh_process(closed_form), *in_fresh_process(whole_way)]
    show("deployments priced", rows)
    if options.out:
        write(options.out, {"estimate": rows})


def _grid(kv_tokens: int) -> Limits:
    seqs, replicas = (axis.ravel() for axis in np.meshgrid(MAX_NUM_SEQS, REPLICAS))
    return Limits(seqs, np.full(len(seqs), kv_tokens), replicas)


def _row(what: str, deployments: int, cpu_s: float) -> Row:
    return {
        "what": what,
        "deployments": deployments,
        "per CPU-s": deployments / cpu_s,
        "CPU s": cpu_s,
        "peak MB": peak_bytes() / 1e6,
    }


if __name__ == "__main__":
    main()
