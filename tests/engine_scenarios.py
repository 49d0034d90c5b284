"""One small scenario an engine, that all engines meet, and the marks of tests that run one."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.timewarp.installation import INSTALLATIONS
from tests.command import FIXED, Run, run, write

_REST = FIXED.partition("workload:")
COMMON = f"workload:{_REST[2]}"
HEAD = """\
name: small
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.5}
"""
SCENARIOS = {
    "vllm": FIXED,
    "sglang": HEAD
    + """\
engine: {name: sglang, version: "0.5.23"}
deployment: {context_length: 8192, max_running_requests: 64, chunked_prefill_size: 2048}
"""
    + COMMON,
    "transformers": HEAD
    + """\
engine: {name: transformers, version: "5.23"}
deployment: {max_requests_per_batch: 64, max_batch_tokens: 2048}
"""
    + COMMON,
}
"""By the engine's name."""

EACH = [
    pytest.param("vllm", marks=pytest.mark.engine(name="vllm")),
    pytest.param("sglang", marks=pytest.mark.engine(name="sglang")),
    pytest.param("transformers", marks=pytest.mark.engine(name="transformers")),
]
"""Every engine, each only where it is installed."""


def emulated(engine: str, *arguments: object) -> Run:
    """`servecast emulate` of the engine's scenario, in this folder; skipped where it is absent."""
    if not INSTALLATIONS[engine].is_tested:
        pytest.skip(f"no tested release of {engine} is installed")
    write(Path(), SCENARIOS[engine])
    return run("emulate", "small.yaml", *arguments)
