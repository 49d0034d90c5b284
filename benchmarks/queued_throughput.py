"""The most that TensorRT-LLM gives out where all requests are queued at once.

Llama-3.3-70B of its published overview, priced by the roofline, scheduled by its simple rules.
`SERVECAST_DATA=... python -m benchmarks.queued_throughput`
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.table import Row, show
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.corrected_source import default_source
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.step_cost import CompiledStepCost
from servecast.profiler.engine_memory import kv_blocks
from servecast.profiler.launch_facts import DEFAULTS
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.simulate import replay
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from servecast.traces.workload import Workload

MODEL = "meta-llama/Llama-3.3-70B-Instruct"
WEIGHTS = {"fp4": Dtype.NVFP4, "fp8": Dtype.FP8}
MAX_NUM_SEQS, MAX_NUM_TOKENS = 2048, 16384
"""Assumed, as is the 8-bit KV cache: the overview states neither."""
CACHES_FULL = 8
"""Requests are so many times what the KV cache holds, for the ends to count little."""


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """The dense model's rows that are not cut into pipeline stages."""
    path = folder / "groundtruth" / "trtllm_perf_overview.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] == "LLaMA v3.3 70B" and row["pp"] == row["dp"] == "1":
                yield row


def forecast(row: dict[str, str]) -> float:
    """Output tokens a second, of all GPUs of the row."""
    prompt, output, launch = int(row["isl"]), int(row["osl"]), DEFAULTS["trtllm"]
    deployment = _deployment(row, prompt + output)
    blocks = kv_blocks(deployment, launch, prompt + output)
    at_once = blocks * deployment.block_size // (prompt + output)
    count = CACHES_FULL * max(1, min(MAX_NUM_SEQS, at_once))
    prompts, outputs = (np.full(count, each, dtype=np.int64) for each in (prompt, output))
    workload = Workload("queued", np.zeros_like(prompts), prompts, outputs, outputs)
    result = replay(
        deployment,
        workload,
        SchedulerLimits(
            MAX_NUM_SEQS, deployment.max_num_batched_tokens, deployment.max_model_len, blocks
        ),
        CompiledStepCost(deployment, default_source(), launch.host),
        policy=TrtllmScheduler,
        schedules_ahead=launch.schedules_ahead,
    )
    records = result.records
    return float(records.output_tokens.sum() / (records.finish_ns.max() / 1e9))


def _deployment(row: dict[str, str], tokens: int) -> Deployment:
    longest = tokens + 64
    return Deployment(
        model=model(MODEL),
        accelerator=accelerator(row["gpu"].replace("-SE", "").rpartition("-")[0]),
        engine="trtllm",
        engine_version="1.0",
        weights_dtype=WEIGHTS[row["precision"]],
        kv_cache_dtype=Dtype.FP8,
        max_model_len=longest,
        max_num_seqs=MAX_NUM_SEQS,
        max_num_batched_tokens=max(MAX_NUM_TOKENS, longest + MAX_NUM_SEQS),
        tensor_parallel_size=int(row["tp"]),
    )


def compared(row: dict[str, str]) -> Row:
    """A row's rates, measured and forecast."""
    measured, found = float(row["out_tok_per_s"]), forecast(row)
    return {
        "GPUs": f"{row['tp']} x {row['gpu']}",
        "weights": row["precision"],
        "prompt": row["isl"],
        "output": row["osl"],
        "measured tok/s": f"{measured:,.0f}",
        "forecast": f"{found:,.0f}",
        "off %": f"{(found / measured - 1) * 100:+.0f}",
    }


def main() -> None:
    """Print a line for each row."""
    folder = os.environ.get("SERVECAST_DATA")
    if folder is None:
        raise SystemExit("set SERVECAST_DATA to the folder of published measurements")
    show(MODEL, [compared(row) for row in rows(Path(folder))])


if __name__ == "__main__":
    main()
