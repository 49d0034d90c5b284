"""Twelve scenarios whose spaces are small enough to be simulated whole."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS = """\
  max_num_seqs: [8, 16, 32, 64, 96, 128, 192, 256, 384, 512]
  max_num_batched_tokens: [512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384]
"""


def scenario(
    model: str,
    hardware: str,
    workload: str,
    slo: str,
    objective: str,
    *,
    sizes: str = "[1, 2, 4, 8]",
    formats: str = "[bf16, fp8]",
    max_model_len: int = 8192,
    more: str = "",
) -> str:
    """A scenario's text: the limits of `LIMITS` times sizes, formats, caches and numbers."""
    return (
        f"model: {model}\nhardware: {hardware}\nengine: {{name: vllm, version: '0.32'}}\n"
        f"deployment:\n  tensor_parallel_size: {sizes}\n  quantization: {formats}\n"
        f"  kv_cache_dtype: [auto, fp8]\n  max_model_len: {max_model_len}\n{LIMITS}{more}"
        f"workload: {workload}\nslo: {slo}\nobjective: {objective}\n"
    )


_H100 = "{gpu: h100_sxm, gpus: 8, usd_per_gpu_hour: 2.99}"
_MIXED = "{gpu: [h100_sxm, l40s], gpus: 8, usd_per_gpu_hour: {h100_sxm: 2.99, l40s: 0.99}}"
_TWO = "{gpu: [h100_sxm, h200_sxm], gpus: 8, usd_per_gpu_hour: {h100_sxm: 2.99, h200_sxm: 3.8}}"
_AUTO = "  replicas: auto\n"
_SOME = "  replicas: [1, 2, 4]\n"
_8B, _70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
_32B = "Qwen/Qwen3-32B"
_FEW = "[1, 2, 4]"

SCENARIOS: Mapping[str, str] = {
    "8B chat, cost": scenario(
        _8B, _MIXED, "{synthetic: chat, requests: 400, rate: 20/s, seed: 1}",
        '["ttft:p95 < 400ms", "tpot:p95 < 30ms"]', "cost", sizes=_FEW, more=_AUTO,
    ),
    "8B chat, goodput": scenario(
        _8B, _H100, "{synthetic: chat, requests: 400, rate: 60/s, seed: 2}",
        '["ttft:p95 < 300ms", "tpot:p95 < 25ms"]', "goodput", sizes=_FEW, more=_SOME,
    ),
    "8B code, ttft": scenario(
        _8B, _H100, "{synthetic: code, requests: 400, rate: 25/s, seed: 3}",
        '["tpot:p95 < 40ms"]', "ttft:p95", sizes=_FEW, more=_SOME,
    ),
    "8B rag, cost": scenario(
        _8B, _MIXED, "{synthetic: rag, requests: 300, rate: 6/s, seed: 4}",
        '["ttft:p95 < 2s", "tpot:p95 < 50ms"]', "cost",
        sizes=_FEW, max_model_len=32768, more=_AUTO,
    ),
    "70B chat, cost": scenario(
        _70B, _TWO, "{synthetic: chat, requests: 400, rate: 4/s, seed: 5}",
        '["ttft:p95 < 600ms", "tpot:p95 < 45ms"]', "cost", more=_AUTO,
    ),
    "70B chat, closed loop": scenario(
        _70B, _TWO, "{synthetic: chat, requests: 400, concurrency: 96, seed: 6}",
        '["tpot:p95 < 50ms"]', "throughput", more="  replicas: [1, 2]\n",
    ),
    "70B summarization, cost": scenario(
        _70B, _TWO, "{synthetic: summarization, requests: 300, rate: 1.5/s, seed: 7}",
        '["ttft:p95 < 3s", "tpot:p95 < 60ms"]', "cost", max_model_len=32768, more=_AUTO,
    ),
    "70B reasoning, tpot": scenario(
        _70B, _TWO, "{synthetic: reasoning, requests: 200, rate: 1/s, seed: 8}",
        '["ttft:p95 < 2s"]', "tpot:p95", max_model_len=32768, more="  replicas: [1, 2]\n",
    ),
    "32B chat, e2e": scenario(
        _32B, _H100, "{synthetic: chat, requests: 400, rate: 8/s, seed: 9}",
        '["ttft:p99 < 1s"]', "e2e:p90", more=_SOME,
    ),
    "32B code, cost": scenario(
        _32B, _TWO, "{synthetic: code, requests: 400, rate: 5/s, seed: 10}",
        '["ttft:p95 < 1s", "tpot:p95 < 40ms", "attainment > 90%"]', "cost", more=_AUTO,
    ),
    "32B bursts, cost": scenario(
        _32B, _TWO, "{synthetic: chat, requests: 400, rate: 8/s, cv: 2.5, seed: 11}",
        '["ttft:p90 < 1.5s", "tpot:p95 < 60ms"]', "cost", more=_AUTO,
    ),
    "8B closed loop, cost": scenario(
        _8B, _MIXED, "{synthetic: sharegpt, requests: 400, concurrency: 128, seed: 12}",
        '["ttft:p95 < 800ms", "tpot:p95 < 40ms"]', "cost", sizes=_FEW, more=_SOME,
    ),
}  # fmt: skip
"""By a name that says model, traffic and objective."""
