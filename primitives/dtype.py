"""Number formats of weights, activations and KV cache, with their true size per element."""

from __future__ import annotations

from enum import StrEnum


class Dtype(StrEnum):
    """A number format, by the name engines use; `bytes` counts block scales where it has them."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"

    @property
    def bytes(self) -> float:
        """Bytes per element, scales included (int4: one 16-bit scale per 128 elements)."""
        return _BYTES[self]


_BYTES = {
    Dtype.FP32: 4.0,
    Dtype.BF16: 2.0,
    Dtype.FP16: 2.0,
    Dtype.FP8: 1.0,
    Dtype.INT8: 1.0,
    Dtype.INT4: 0.5 + 2 / 128,
    Dtype.MXFP4: 0.5 + 1 / 32,
    Dtype.NVFP4: 0.5 + 1 / 16,
}
