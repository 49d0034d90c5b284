"""The options that start SGLang exactly as it was simulated: every emitted file uses these."""

from __future__ import annotations

from itertools import pairwise

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.search.vllm_formats import Argument
from servecast.timewarp.sglang_options import server_words

RELEASE = "0.5.23"
_KV_CACHE = {Dtype.BF16: "auto", Dtype.FP8: "fp8_e4m3"}


def arguments(deployment: Deployment, num_pages: int) -> list[Argument]:
    """The options of `sglang.launch_server` for one replica, without model, host and port.

    `num_pages` are those of the KV pool, all of which requests can hold. InputError where it
    contradicts the deployment's own number; UnsupportedError for a version or formats that nothing
    can be emitted for.
    """
    d = deployment
    if d.engine_version.removeprefix("v") != RELEASE:
        raise UnsupportedError(
            f"SGLang {d.engine_version} was not checked against its source\n  known: {RELEASE}",
            hint=f'set engine: {{version: "{RELEASE}"}} in the scenario',
        )
    if d.accelerator.vendor.lower() != "nvidia":
        raise UnsupportedError(
            f"files for `{d.accelerator.name}` ({d.accelerator.vendor}) are not emitted yet"
            "\n  known: NVIDIA GPUs",
            hint="read the limits from the report and start the engine by hand",
        )
    if d.num_gpu_blocks_override not in (None, num_pages):
        raise InputError(
            f"the deployment states {d.num_gpu_blocks_override} pages, {num_pages} are given",
            hint="emit the pool that was simulated",
        )
    return [
        *_pairs(server_words(d, num_pages)),
        *_weights(d),
        ("--kv-cache-dtype", _kv_cache(d.kv_cache_dtype)),
        ("--mem-fraction-static", f"{d.gpu_memory_utilization:g}"),
    ]


def _pairs(words: list[str]) -> list[Argument]:
    """Options with the words that follow them."""
    return [
        (word, None if after.startswith("--") else after)
        for word, after in pairwise([*words, "--"])
        if word.startswith("--")
    ]


def _weights(deployment: Deployment) -> list[Argument]:
    published, served = deployment.model.weights_dtype, deployment.weights_dtype
    if published == served:
        return []
    if (published, served) == (Dtype.BF16, Dtype.FP8):
        return [("--quantization", "fp8")]
    raise UnsupportedError(
        f"SGLang does not serve a checkpoint in {published} as {served} by itself",
        hint="leave quantization out, or serve a checkpoint that was made so",
    )


def _kv_cache(dtype: Dtype) -> str:
    if dtype not in _KV_CACHE:
        raise UnsupportedError(
            f"no option of SGLang is known for a KV cache in {dtype}",
            hint="set kv_cache_dtype to auto or fp8_e4m3",
        )
    return _KV_CACHE[dtype]
