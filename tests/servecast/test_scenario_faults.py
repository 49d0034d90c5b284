"""What is wrong in a scenario is told at once, each fault with its place and the way out."""

from __future__ import annotations

import pytest

from servecast.faults import ScenarioError
from servecast.loading import loads
from tests.servecast.minimal import changed, faults

ALL_WRONG = """\
model: meta-llama/Llama-3.1-8B-Instrct
hardware: {gpu: h100x, gpus: -8, usd_per_gpu_hour: .nan}
engine: {name: lmdeploy, version: 0.32}
deployment:
  tensor_parallel_sise: 4
  enforce_eager: [false, true]
  async_scheduling: perhaps
  stream_interval: 2
  data_parallel_size: 0
  speculative_config: {method: ngram}
  enable_lora: true
  scheduling_policy: lottery
  kv_transfer_config: {}
  quantization: awq
  max_num_seqs: [64, 64]
workload: {synthetic: chat, requests: [1, 2], rate: -12/s, think: 2}
slo: ["ttft < 500ms", "tpott:p95 < 40ms"]
objective: costs
colour: red
"""


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("model", ["Llama-3.1-8B-Instrct", "did you mean"]),
        ("hardware.gpu", ["h100x", "h100", "servecast gpus"]),
        ("hardware.gpus", ["`-8`", "greater than or equal to 1"]),
        ("hardware.usd_per_gpu_hour", ["`nan`", "finite"]),
        ("engine.name", ["`lmdeploy`", "not modelled yet", "vllm"]),
        ("engine.version", ["0.32", "quotes"]),
        ("deployment.tensor_parallel_sise", ["unknown field", "`tensor_parallel_size`"]),
        ("deployment.enforce_eager[1]", ["CUDA graphs", "false"]),
        ("deployment.async_scheduling", ["`perhaps`", "boolean"]),
        ("deployment.stream_interval", ["stream_interval", "not modelled yet"]),
        ("deployment.data_parallel_size", ["`0`", "1"]),
        ("deployment.speculative_config", ["speculative decoding", "speculation: {method"]),
        ("deployment.enable_lora", ["LoRA", "not modelled yet"]),
        ("deployment.scheduling_policy", ["fcfs", "priority"]),
        ("deployment.kv_transfer_config", ["disaggregated", "not modelled yet"]),
        ("deployment.quantization", ["`awq`", "checkpoint", "config.json"]),
        ("deployment.max_num_seqs", ["`64` is listed twice"]),
        ("workload.requests", ["is a choice", "only", "deployment"]),
        ("workload.rate", ["`-12/s`", "not above 0"]),
        ("workload.think", ["`2`", "no unit"]),
        ("slo[0]", ["no statistic", "ttft:p95 < 500ms"]),
        ("slo[1]", ["`tpott`", "`tpot`"]),
        ("objective", ["`costs`", "`cost`"]),
        ("colour", ["unknown field"]),
    ],
)
def test_every_fault_is_told_at_once_with_its_place(place: str, words: list[str]) -> None:
    told = faults(ALL_WRONG)
    assert place in told
    for word in words:
        assert word.removeprefix("only") in told[place]


def test_nothing_else_is_told_and_each_fault_has_its_line() -> None:
    with pytest.raises(ScenarioError) as told:
        loads(ALL_WRONG, name="all-wrong.yaml")
    lines = {fault.place: fault.line for fault in told.value.faults}
    assert len(lines) == 24
    assert lines["model"] == 1
    assert lines["deployment.enforce_eager[1]"] == 6
    assert lines["colour"] == 19
    assert "all-wrong.yaml has 24 errors" in told.value.message
    assert "line 5  deployment.tensor_parallel_sise: unknown field" in told.value.message
    assert told.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("gpus: 1", "gpus: [1, 2]", "hardware.gpus", "is a choice"),
        ("rate: 720/min", "rate: {from: 1, to: 9, step: 1}", "workload.rate", "is a choice"),
        ("Llama-3.1-8B-Instruct", "[a, b]", "model", "unknown"),
        ("gpus: 1,", "", "hardware.gpus", "missing"),
        ("gpus: 1", "gpus: true", "hardware.gpus", "integer"),
        ("rate: 720/min", "rate: .nan", "workload.rate", "not a number"),
        ("rate: 720/min", "rate: .inf", "workload.rate", "not a number"),
        ("rate: 720/min", "rate: true", "workload.rate", "not a rate"),
        ("rate: 720/min", "", "workload", "neither rate nor concurrency"),
        ("rate: 720/min", "rate: 1, concurrency: 2", "workload", "both rate and concurrency"),
        ("rate: 720/min", "rate: 1, think: 1s", "workload", "without concurrency"),
        ("rate: 720/min", "rate: 1, cv: 1, burstiness: 1", "workload", "in vain"),
        ("input_tokens: 100, ", "", "workload", "needs input_tokens"),
        ("synthetic: fixed", "synthetic: chat", "workload", "lengths that the shape has"),
        ("synthetic: fixed, ", "", "workload", "none or several"),
        ("synthetic: fixed", "synthetic: chatt", "workload.synthetic", "`chat`"),
        (
            "rate: 720/min",
            "rate: 1, max_num_seqs: 8",
            "workload.max_num_seqs",
            "under `deployment`",
        ),
        ("max_num_seqs: 64", "replicas: many", "deployment.replicas", "neither `auto` nor"),
        ("max_num_seqs: 64", "max_num_seqs: []", "deployment.max_num_seqs", "empty"),
        (
            "max_num_seqs: 64",
            "max_num_seqs: {from: 1}",
            "deployment.max_num_seqs",
            "from, to and step",
        ),
        (
            "max_num_seqs: 64",
            "max_num_seqs: {from: 1, to: 9, step: 0}",
            "deployment.max_num_seqs",
            "goes up",
        ),
        (
            "max_num_seqs: 64",
            "max_num_seqs: {from: 1, to: 9000000, step: 1}",
            "deployment.max_num_seqs",
            "more than 1000",
        ),
        ("max_num_seqs: 64", "max-num-seqs: 64", "deployment.max-num-seqs", "`max_num_seqs`"),
        ("max_num_seqs: 64", "stream_interval: 4", "deployment.stream_interval", "not modelled"),
        ("max_num_seqs: 64", "port: 8001", "deployment.port", "changes nothing"),
        ("max_num_seqs: 64", "slo: []", "deployment.slo", "at the top level"),
        ("max_num_seqs: 64", "gpu: h100_sxm", "deployment.gpu", "belongs under `hardware`"),
        ("max_num_seqs: 64", "dtype: float16", "deployment.dtype", "not modelled yet"),
        ("max_num_seqs: 64", "enforce_eager: true", "deployment.enforce_eager", "CUDA graphs"),
        (
            "max_num_seqs: 64",
            "enable_chunked_prefill: false",
            "deployment.enable_chunked_prefill",
            "true",
        ),
        (
            "max_num_seqs: 64",
            "gpu_memory_utilization: 1.2",
            "deployment.gpu_memory_utilization",
            "1.2",
        ),
        ('"0.32"', '"0.11"', "engine.version", "0.32"),
        ('["ttft:p95 < 500ms"]', "[{ttft: 3}]", "slo[0]", "in quotes"),
        ("objective: cost", "objective: [cost, cost]", "objective", "listed twice"),
        ("objective: cost", "objective: []", "objective", "at least 1"),
        ("objective: cost", "name: ../x", "name", "`../x`"),
    ],
)
def test_one_fault(old: str, new: str, place: str, words: str) -> None:
    told = faults(changed(old, new))
    assert list(told) == [place]
    assert words in told[place]
