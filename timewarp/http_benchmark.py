"""vLLM's own benchmark client, with the requests of a workload."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from servecast.errors import ServecastError
from servecast.primitives.deployment import Deployment
from servecast.simulator.request import Request
from servecast.timewarp.foreign import foreign
from servecast.timewarp.http_server import MODEL
from servecast.timewarp.served import Served


@dataclass(frozen=True, slots=True)
class Report:
    """What `vllm bench serve` measured, request by request, in the order of the workload."""

    duration_s: float
    start_s: Sequence[float]
    ttft_s: Sequence[float]
    itl_s: Sequence[Sequence[float]]
    latency_s: Sequence[float]
    output_tokens: Sequence[int]
    errors: Sequence[str]
    """Empty for a request that succeeded."""


async def benchmark(
    url: str, requests: Iterable[Request], deployment: Deployment, concurrency: int | None
) -> Report:
    """What `vllm bench serve` reports of the server at `url`, which each request reaches when due.

    With a `concurrency`, so many are under way at once, each next one sent at a finish. Raises
    ServecastError where the client fails; that of a request is in the report.
    """
    serve = foreign("vllm.benchmarks.serve")
    samples = [_sample(request, deployment) for request in requests]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found = await serve.benchmark(**_arguments(url, concurrency), input_requests=samples)
    except ArithmeticError as error:  # its means, where no time has passed
        raise ServecastError(
            f"no request succeeded, and vLLM's benchmark fails on that: {error}"
        ) from error
    return Report(
        duration_s=found["duration"],
        start_s=found["start_times"],
        ttft_s=found["ttfts"],
        itl_s=found["itls"],
        latency_s=found["latencies"],
        output_tokens=found["output_lens"],
        errors=found["errors"],
    )


def _arguments(url: str, concurrency: int | None) -> dict[str, Any]:
    return {
        "task_type": foreign("vllm.benchmarks.serve").TaskType.GENERATION,
        "endpoint_type": "openai",
        "api_url": f"{url}/v1/completions",
        "base_url": url,
        "model_id": MODEL,
        "model_name": MODEL,
        "tokenizer": None,
        "logprobs": None,
        "request_rate": float("inf"),
        "burstiness": 1.0,
        "disable_tqdm": True,
        "num_warmups": 0,
        "profile": False,
        "selected_percentile_metrics": [],
        "selected_percentiles": [],
        "ignore_eos": False,
        "goodput_config_dict": {},
        "max_concurrency": concurrency,
        "lora_modules": None,
        "extra_headers": None,
        "extra_body": {"temperature": 0.0},
        "ready_check_timeout_sec": 0,
        "self_timed": concurrency is None,
    }


def _sample(request: Request, deployment: Deployment) -> Any:
    """The request as the client sends it; a server refuses to promise more than it has room for."""
    room = deployment.max_model_len - request.prompt_tokens
    return foreign("vllm.benchmarks.datasets").SampleRequest(
        prompt=Served(request, deployment.block_size).prompt,
        prompt_len=request.prompt_tokens,
        expected_output_len=min(request.max_tokens, room),
        request_id=str(request.index),
        timestamp=request.arrival_ns / 1e9,
    )
