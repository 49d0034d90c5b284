"""The smallest scenario with everything fixed, and how tests change it and read its faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.faults import ScenarioError
from servecast.loading import loads

FIXED = """\
model: meta-llama/Llama-3.1-8B-Instruct
hardware: {gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.5}
engine: {name: vllm, version: "0.32"}
deployment: {max_num_seqs: 64}
workload: {synthetic: fixed, input_tokens: 100, output_tokens: 10, requests: 5, rate: 720/min}
slo: ["ttft:p95 < 500ms"]
objective: cost
"""


def changed(old: str, new: str) -> str:
    """The fixed scenario's text with one thing replaced."""
    assert old in FIXED
    return FIXED.replace(old, new)


def faults(text: str, folder: Path | None = None) -> dict[str, str]:
    """The faults of a scenario: message and hint by place."""
    with pytest.raises(ScenarioError) as told:
        loads(text, folder=folder)
    return {fault.place: f"{fault.message} {fault.hint or ''}" for fault in told.value.faults}
