"""The number format of a checkpoint's weights, from the quantization part of its `config.json`."""

from __future__ import annotations

from typing import cast

from servecast.primitives.dtype import Dtype
from servecast.primitives.hf_schema import KeyProblem

Section = dict[str, object]

_KEY = "quantization_config"
_PLAIN = {
    "bfloat16": Dtype.BF16,
    "float16": Dtype.FP16,
    "half": Dtype.FP16,
    "float32": Dtype.FP32,
    "float": Dtype.FP32,
}
_METHODS = {"fp8": Dtype.FP8, "fbgemm_fp8": Dtype.FP8, "mxfp4": Dtype.MXFP4}
_BY_BITS = frozenset({"awq", "gptq", "auto-round", "auto_round"})
_ALGORITHMS = {
    "FP8": Dtype.FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": Dtype.FP8,
    "FP8_PB_WO": Dtype.FP8,
    "NVFP4": Dtype.NVFP4,
    "W4A16_AWQ": Dtype.INT4,
    "W4A8_AWQ": Dtype.INT4,
    "W8A8_SQ_PER_CHANNEL": Dtype.INT8,
    "W8A16": Dtype.INT8,
}
_INTEGERS = {4: Dtype.INT4, 8: Dtype.INT8}
_NVFP4_GROUP = 16


def read_weights_dtype(config: Section) -> Dtype:
    """The format of the large matrices; raises KeyProblem for one that is not modelled.

    Without quantization it is the file's `torch_dtype` (`dtype`), by default bf16.
    """
    section = config.get(_KEY)
    if section is None:
        return _plain(config)
    if not isinstance(section, dict):
        raise KeyProblem(_KEY, "must be an object")
    quantization = cast("Section", section)
    method = str(quantization.get("quant_method", "modelopt")).lower()
    if method in _METHODS:
        return _METHODS[method]
    if method in _BY_BITS:
        return _integer(quantization.get("bits", quantization.get("w_bit", 4)), method)
    if method == "bitsandbytes":
        return Dtype.INT4 if quantization.get("load_in_4bit") else Dtype.INT8
    if method == "modelopt" and "quant_algo" in quantization:
        return _algorithm(str(quantization["quant_algo"]))
    if method in ("compressed-tensors", "modelopt"):
        return _group(quantization)
    raise KeyProblem(f"{_KEY}.quant_method", f"`{method}` is not supported")


def _plain(config: Section) -> Dtype:
    stated = config.get("torch_dtype", config.get("dtype", "bfloat16"))
    name = str(stated).removeprefix("torch.")
    if name not in _PLAIN:
        raise KeyProblem("torch_dtype", f"`{stated}` is not one of {', '.join(_PLAIN)}")
    return _PLAIN[name]


def _integer(bits: object, method: str) -> Dtype:
    if not isinstance(bits, int) or bits not in _INTEGERS:
        raise KeyProblem(f"{_KEY}.bits", f"must be 4 or 8 for {method} (got {bits!r})")
    return _INTEGERS[bits]


def _algorithm(name: str) -> Dtype:
    if name not in _ALGORITHMS:
        raise KeyProblem(f"{_KEY}.quant_algo", f"`{name}` is not one of {', '.join(_ALGORITHMS)}")
    return _ALGORITHMS[name]


def _group(quantization: Section) -> Dtype:
    """The format of the first group of layers, as compressed-tensors writes it."""
    groups = quantization.get("config_groups")
    first = next(iter(cast("Section", groups).values()), None) if isinstance(groups, dict) else None
    weights = cast("Section", first).get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict):
        raise KeyProblem(f"{_KEY}.config_groups", "has no group with `weights`")
    found = cast("Section", weights)
    bits, kind = found.get("num_bits"), found.get("type", "int")
    if kind == "int":
        return _integer(bits, "compressed-tensors")
    if kind == "float" and bits == 8:
        return Dtype.FP8
    if kind == "float" and bits == 4:
        return Dtype.NVFP4 if found.get("group_size") == _NVFP4_GROUP else Dtype.MXFP4
    raise KeyProblem(f"{_KEY}.config_groups", f"weights of {bits} bits ({kind}) are not supported")
