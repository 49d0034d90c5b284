"""The benchmark that would verify a prediction: the simulated requests, and vLLM's own client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.traces.workload import Workload

REQUESTS_FILE = "requests.jsonl"
RESULT_FILE = "measured.json"

SloMetric = Literal["ttft", "tpot", "e2e"]
"""The metrics that the client can hold a single request to."""

Clause = tuple[str, ...]
"""An option with the words that belong to it."""

_CLIENT_NAMES: dict[SloMetric, str] = {"ttft": "ttft", "tpot": "tpot", "e2e": "e2el"}


def bench_arguments(
    workload: Workload,
    model: str,
    slo_ms: Mapping[SloMetric, float],
    percentiles: Sequence[float],
) -> list[Clause]:
    """The options of `vllm bench serve` 0.32.0 that send what was simulated, but for the address.

    The client's `timed_trace` data set sends each request of `REQUESTS_FILE` at its own time (or,
    for a closed loop, `concurrency` at a time) with exactly its number of prompt tokens, and asks
    for exactly its number of output tokens. A chunk as long as the longest prompt gives each
    prompt tokens of its own, so that none shares a prefix.
    """
    percentile_list = ",".join(f"{percentile:g}" for percentile in sorted(set(percentiles)))
    clauses: list[Clause] = [
        ("--backend", "openai"),
        ("--model", model),
        ("--dataset-name", "timed_trace"),
        ("--dataset-path", REQUESTS_FILE),
        ("--timed-trace-chunk-hash-size", str(int(workload.prompt_tokens.max()))),
        ("--num-prompts", str(len(workload))),
        *_pace(workload),
        ("--temperature", "0"),
        ("--ready-check-timeout-sec", "3600"),
        ("--percentile-metrics", "ttft,tpot,itl,e2el"),
        ("--metric-percentiles", percentile_list),
    ]
    if slo_ms:
        bounds = [f"{_CLIENT_NAMES[metric]}:{bound:g}" for metric, bound in slo_ms.items()]
        clauses.append(("--goodput", *bounds))
    return [*clauses, ("--save-result",), ("--result-filename", RESULT_FILE)]


def write_requests(workload: Workload, deployment: Deployment, path: Path) -> None:
    """One JSON line per request: seconds after the first arrival, and its lengths in tokens.

    An output longer than the model's context is cut to it, because the server refuses to be asked
    for more; where prompt and output together exceed the context, the server itself cuts.
    """
    outputs = np.minimum(workload.output_tokens, deployment.max_model_len)
    arrivals_s = (workload.arrival_ns - workload.arrival_ns[0]) / 1e9
    columns = (arrivals_s.tolist(), workload.prompt_tokens.tolist(), outputs.tolist())
    with path.open("w", encoding="utf-8") as lines:
        for index, (arrival_s, prompt, output) in enumerate(zip(*columns, strict=True)):
            request = {
                "timestamp": arrival_s,
                "input_length": prompt,
                "output_length": output,
                "hash_ids": [index],
            }
            lines.write(json.dumps(request) + "\n")


def _pace(workload: Workload) -> list[Clause]:
    """When requests are sent: at their own times, or as soon as one of `concurrency` is free."""
    if workload.concurrency is None:
        return [("--self-timed",)]
    return [
        ("--no-self-timed",),
        ("--request-rate", "inf"),
        ("--max-concurrency", str(workload.concurrency)),
    ]
