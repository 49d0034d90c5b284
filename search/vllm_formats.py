"""vLLM's names for number formats, read and written."""

from __future__ import annotations

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.dtype import Dtype

Argument = tuple[str, str | None]
"""An option and its value; None where it is a flag."""

MODEL_DTYPES = {
    "bfloat16": Dtype.BF16,
    "float16": Dtype.FP16,
    "half": Dtype.FP16,
    "float32": Dtype.FP32,
    "float": Dtype.FP32,
}
"""`--dtype`, but for `auto`, which is the checkpoint's."""

KV_CACHE_DTYPES = {
    "bfloat16": Dtype.BF16,
    "float16": Dtype.FP16,
    "fp8": Dtype.FP8,
    "fp8_e4m3": Dtype.FP8,
    "fp8_e5m2": Dtype.FP8,
    "nvfp4": Dtype.NVFP4,
}
"""`--kv-cache-dtype`; of names for the same format the first one is written."""

QUANTIZATIONS = {
    "fp8": Dtype.FP8,
    "fp8_per_tensor": Dtype.FP8,
    "fp8_per_block": Dtype.FP8,
    "fp8_per_channel": Dtype.FP8,
    "fbgemm_fp8": Dtype.FP8,
    "deepseek_v4_fp8": Dtype.FP8,
    "modelopt": Dtype.FP8,
    "awq": Dtype.INT4,
    "auto_awq": Dtype.INT4,
    "awq_marlin": Dtype.INT4,
    "gptq": Dtype.INT4,
    "auto_gptq": Dtype.INT4,
    "gptq_marlin": Dtype.INT4,
    "mxfp4": Dtype.MXFP4,
    "gpt_oss_mxfp4": Dtype.MXFP4,
    "modelopt_fp4": Dtype.NVFP4,
}
"""`--quantization`, for the methods that name one format (GPTQ and AWQ taken as 4 bits)."""

_PLAIN = {Dtype.BF16: "bfloat16", Dtype.FP16: "float16", Dtype.FP32: "float32"}


def weights_arguments(published: Dtype, served: Dtype) -> list[Argument]:
    """The options that serve a checkpoint published in one format in another.

    vLLM 0.32.0 converts while loading only between plain formats and from them to fp8, and its
    method `fp8` no longer does so (`fp8_per_tensor` does). InputError for other conversions.
    """
    if served in _PLAIN and published in _PLAIN:
        return [("--dtype", _PLAIN[served])]
    if served is published:
        return [("--dtype", "auto")]
    if served is Dtype.FP8 and published in _PLAIN:
        return [("--dtype", _PLAIN[published]), ("--quantization", "fp8_per_tensor")]
    raise InputError(
        f"vLLM cannot load weights published in {published} as {served}\n"
        f"  known: {published}" + (", bf16, fp16, fp8" if published in _PLAIN else ""),
        hint=f"name a checkpoint that is published in {served} as the model",
    )


def kv_cache_argument(dtype: Dtype) -> Argument:
    """The option for the KV cache's format, never `auto`, which the checkpoint may decide.

    UnsupportedError for a format that vLLM's cache does not have under a plain name.
    """
    for name, known in KV_CACHE_DTYPES.items():
        if known is dtype:
            return "--kv-cache-dtype", name
    raise UnsupportedError(
        f"a KV cache in {dtype} cannot be started in vLLM\n  known: bf16, fp16, fp8, nvfp4",
        hint="set kv_cache_dtype to fp8 or bf16",
    )
