"""Rules that join sections of a scenario."""

from __future__ import annotations

import pytest

from servecast.loading import loads
from servecast.primitives.catalogue import accelerators
from tests.servecast.minimal import changed, faults


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        (
            "max_num_seqs: 64",
            "quantization: [bf16, int4]",
            "deployment.quantization[1]",
            "config.json",
        ),
        ("max_num_seqs: 64", "max_model_len: 200000", "deployment.max_model_len", "131072 or less"),
        (
            "max_num_seqs: 64",
            "tensor_parallel_size: 3",
            "deployment.tensor_parallel_size",
            "divide",
        ),
        (
            "max_num_seqs: 64",
            "tensor_parallel_size: 2",
            "deployment.tensor_parallel_size",
            "2 GPUs",
        ),
        (
            "max_num_seqs: 64",
            "max_num_seqs: 64, max_num_batched_tokens: 32",
            "deployment.max_num_batched_tokens",
            "64 or more",
        ),
        (
            "max_num_seqs: 64",
            "long_prefill_token_threshold_adaptive: true",
            "deployment.long_prefill_token_threshold_adaptive",
            "state long_prefill_token_threshold too",
        ),
        ("objective: cost", "objective: goodput\nslo: []", "objective", "needs an SLO"),
        ("ttft:p95 < 500ms", "attainment > 9%", "slo[0]", "needs an SLO"),
    ],
)
def test_rules_between_sections(old: str, new: str, place: str, words: str) -> None:
    text = changed(old, new)
    if "slo: []" in new:
        text = text.replace('slo: ["ttft:p95 < 500ms"]\n', "")
    assert words in faults(text)[place]


def test_rules_between_sound_sections_hold_while_another_is_broken() -> None:
    text = changed("max_num_seqs: 64", "max_model_len: 200000").replace("rate: 720/min", "rate: -1")
    assert set(faults(text)) == {"deployment.max_model_len", "workload.rate"}


def test_fp8_of_an_fp8_checkpoint_is_its_own_format_and_bf16_is_not() -> None:
    big = changed("meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3")
    big = big.replace("gpus: 1", "gpus: 8")
    options = "tensor_parallel_size: 8, quantization: "
    loads(big.replace("max_num_seqs: 64", options + "fp8"))
    told = faults(big.replace("max_num_seqs: 64", options + "bf16"))
    assert "published in fp8" in told["deployment.quantization"]


def test_cost_needs_a_price() -> None:
    unpriced = next(gpu.name for gpu in accelerators() if gpu.usd_per_hour is None)
    text = changed("gpu: h100_sxm, gpus: 1, usd_per_gpu_hour: 2.5", f"gpu: {unpriced}, gpus: 1")
    told = faults(text)
    assert unpriced in told["objective"]
    assert "set hardware.usd_per_gpu_hour, or `objective: gpu_hours`" in told["objective"]
    loads(text.replace("objective: cost", "objective: gpu_hours"))


def test_one_price_does_not_fit_several_gpus() -> None:
    told = faults(changed("gpu: h100_sxm", "gpu: [h100_sxm, h200_sxm]"))
    assert "{h100_sxm: 2.5, h200_sxm: 2.5}" in told["hardware"]
