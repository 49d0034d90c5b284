"""How much faster than real an engine's own loop runs, one pass a step and one pass for many.

Every row runs in a fresh interpreter, since engines of one process share a growing heap; both runs
must give every request the same times. Needs the engine named: `vllm` (or nothing) or `sglang`
(`servecast doctor`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.fresh_process import in_fresh_process
from benchmarks.simulator_speed import deployment
from benchmarks.table import Row, show
from servecast.emulation import run
from servecast.primitives.catalogue import model
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.roofline import RooflineSource
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload

CASES = (
    (16, 0.0, 64, 400),
    (128, 0.0, 64, 400),
    (256, 0.0, 64, 400),
    (256, 0.0, 512, 256),
    (1000, 40.0, 512, 256),
    (1000, 8.0, 512, 256),
)
"""Requests, their rate per second (0: all at once), prompt and output tokens."""
MODELS = {"meta-llama/Llama-3.1-8B-Instruct": 1, "meta-llama/Llama-3.1-70B-Instruct": 4}
"""Each with the H100s that it takes."""


def workload(count: int, rate_per_s: float, prompt: int, output: int) -> Workload:
    """Requests of equal lengths, at once or as independent users send them."""
    gaps_s = np.random.default_rng(1).exponential(1.0, count)
    arrival_s = np.cumsum(gaps_s) / rate_per_s if rate_per_s else np.zeros(count)
    return Workload(
        name=f"{count} of {prompt}/{output} at {rate_per_s:g}/s"
        if rate_per_s
        else f"{count} of {prompt}/{output} at once",
        arrival_ns=np.rint(arrival_s * 1e9).astype(np.int64),
        prompt_tokens=np.full(count, prompt),
        output_tokens=np.full(count, output),
        max_tokens=np.full(count, 4096),
    )


def vllm(name: str) -> Deployment:
    """vLLM as it would serve the model."""
    ranks = MODELS[name]
    return replace(deployment(), model=model(name), tensor_parallel_size=ranks, max_model_len=4096)


def sglang(*, overlap: bool) -> Deployment:
    """SGLang with room for all requests of a case, its loop with or without overlap."""
    return replace(
        deployment(),
        engine="sglang",
        engine_version="0.5.23",
        policy=SglangPolicy(disable_overlap_schedule=not overlap),
        block_size=1,
        max_model_len=4096,
        max_num_seqs=2048,
        num_gpu_blocks_override=400_000,
        enable_prefix_caching=True,
    )


def measured(served: Deployment, count: int, rate_per_s: float, prompt: int, output: int) -> Row:
    """One row of the table."""
    traffic = workload(count, rate_per_s, prompt, output)
    run(served, workload(1, 0.0, prompt, 2), RooflineSource())  # what is made once a process
    stepped, skipped = (
        run(served, traffic, RooflineSource(), mode=Mode(stepping=stepping))
        for stepping in (True, False)
    )
    times = [each.result.records for each in (stepped, skipped)]
    if not np.array_equal(times[0].finish_ns, times[1].finish_ns):
        raise AssertionError(f"skipping differs from stepping: {traffic.name}")
    return {
        "traffic": traffic.name,
        "steps": f"{stepped.steps:,}",
        "seconds": f"{stepped.result.duration_s:.1f}",
        "stepping, CPU s": f"{stepped.cpu_s:.2f}",
        "skipping, CPU s": f"{skipped.cpu_s:.2f}",
        "faster than real": f"{stepped.speedup:.1f} → {skipped.speedup:.0f}",
    }


def tables(engine: str) -> Iterator[tuple[str, Deployment]]:
    """A title and a deployment for each table of an engine."""
    if engine == "sglang":
        for overlap in (True, False):
            loop = "with" if overlap else "without"
            yield f"SGLang on virtual time: 8B, one H100, {loop} overlap", sglang(overlap=overlap)
        return
    for name, ranks in MODELS.items():
        yield f"vLLM on virtual time: {name}, {ranks} x H100", vllm(name)


if __name__ == "__main__":
    for title, served in tables(sys.argv[1] if len(sys.argv) > 1 else "vllm"):
        show(title, [in_fresh_process(measured, served, *case) for case in CASES])
