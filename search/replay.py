"""The benchmark that would verify a prediction: the simulated requests, and vLLM's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.simulator.slo import Slo
from servecast.traces.prefixes import cut
from servecast.traces.workload import Workload

REQUESTS_FILE = "requests.jsonl"
RESULT_FILE = "measured.json"

Clause = tuple[str, ...]
"""An option with the words that belong to it."""

_PERCENTILES = (50.0, 90.0, 95.0, 99.0)
_CLIENT_NAMES = {"e2e": "e2el"}
"""What the client calls a metric where it has another name for it."""


def bench_arguments(workload: Workload, model: str, slos: Sequence[Slo]) -> list[Clause]:
    """The options of `vllm bench serve` 0.32.0 that send what was simulated, but for the address.

    The client's `timed_trace` data set sends each request of `REQUESTS_FILE` at its own time (or,
    for a closed loop, `concurrency` at a time) with exactly its number of prompt tokens, and asks
    for exactly its number of output tokens. Prompts begin alike where they were simulated so; where
    nothing is known of that, a chunk as long as the longest prompt gives each tokens of its own.
    SLOs that limit single requests become the client's goodput, and every percentile they name is
    reported.
    """
    named = {slo.percentile for slo in slos if slo.percentile is not None}
    percentiles = ",".join(f"{percentile:g}" for percentile in sorted(named.union(_PERCENTILES)))
    clauses: list[Clause] = [
        ("--backend", "openai"),
        ("--model", model),
        ("--dataset-name", "timed_trace"),
        ("--dataset-path", REQUESTS_FILE),
        ("--timed-trace-chunk-hash-size", str(_chunk_tokens(workload))),
        ("--num-prompts", str(len(workload))),
        *_pace(workload),
        ("--temperature", "0"),
        ("--ready-check-timeout-sec", "3600"),
        ("--percentile-metrics", "ttft,tpot,itl,e2el"),
        ("--metric-percentiles", percentiles),
    ]
    return [*clauses, *_goodput(slos), ("--save-result",), ("--result-filename", RESULT_FILE)]


def write_requests(workload: Workload, deployment: Deployment, path: Path) -> None:
    """One JSON line per request: seconds after the first arrival, and its lengths in tokens.

    An output longer than the model's context is cut to it, because the server refuses to be asked
    for more; where prompt and output together exceed the context, the server itself cuts.
    """
    outputs = np.minimum(workload.output_tokens, deployment.max_model_len)
    arrivals_s = (workload.arrival_ns - workload.arrival_ns[0]) / 1e9
    columns = (arrivals_s.tolist(), workload.prompt_tokens.tolist(), outputs.tolist())
    with path.open("w", encoding="utf-8") as lines:
        for chunks, arrival_s, prompt, output in zip(_chunks(workload), *columns, strict=True):
            request = {
                "timestamp": arrival_s,
                "input_length": prompt,
                "output_length": output,
                "hash_ids": chunks,
            }
            lines.write(json.dumps(request) + "\n")


def _chunk_tokens(workload: Workload) -> int:
    known = workload.prefixes
    return int(workload.prompt_tokens.max()) if known is None else known.block_tokens


def _chunks(workload: Workload) -> Iterator[list[int]]:
    """The ids of each prompt's chunks: those that it may share, then some that nobody else has."""
    known, chunk_tokens = workload.prefixes, _chunk_tokens(workload)
    unused = 0 if known is None else int((known.first + known.length).max(initial=0))
    for row, tokens in enumerate(workload.prompt_tokens.tolist()):
        count = -(-tokens // chunk_tokens)
        shared = [] if known is None else cut(known.extents(row), count)
        ids = [each for first, length in shared for each in range(first, first + length)]
        yield ids + list(range(unused, unused + count - len(ids)))
        unused += count - len(ids)


def _pace(workload: Workload) -> list[Clause]:
    """When requests are sent: at their own times, or as soon as one of `concurrency` is free."""
    if workload.concurrency is None:
        return [("--self-timed",)]
    return [
        ("--no-self-timed",),
        ("--request-rate", "inf"),
        ("--max-concurrency", str(workload.concurrency)),
    ]


def _goodput(slos: Sequence[Slo]) -> list[Clause]:
    """The limits that a single request must meet, in milliseconds; the tightest of each metric.

    The client knows no classes, so the limits of a class are left out.
    """
    limits_s: dict[str, float] = {}
    for slo in slos:
        if slo.limits_requests and slo.request_class is None:
            name = _CLIENT_NAMES.get(slo.metric, slo.metric)
            limits_s[name] = min(slo.threshold, limits_s.get(name, slo.threshold))
    bounds = [f"{name}:{limit_s * 1e3:.12g}" for name, limit_s in limits_s.items()]
    return [("--goodput", *bounds)] if bounds else []
