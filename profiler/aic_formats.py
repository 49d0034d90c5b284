"""The database's names of number formats, in ours: the format of the weights, and what else."""

from __future__ import annotations

from servecast.errors import unknown
from servecast.primitives.dtype import Dtype
from servecast.profiler.aic_package import VERSION

Traits = tuple[tuple[str, str], ...]

_BF16_ACTIVATIONS: Traits = (("activations", "bf16"),)

_FORMATS: dict[str, tuple[Dtype, Traits]] = {
    "bfloat16": (Dtype.BF16, ()),
    "half": (Dtype.FP16, ()),
    "fp8": (Dtype.FP8, ()),
    "fp8_block": (Dtype.FP8, (("scaling", "block"),)),
    "int8": (Dtype.INT8, ()),
    "int8_wo": (Dtype.INT8, _BF16_ACTIVATIONS),
    "int4_wo": (Dtype.INT4, _BF16_ACTIVATIONS),
    "sq": (Dtype.INT8, (("scaling", "smooth"),)),
    "nvfp4": (Dtype.NVFP4, ()),
    "w4a16_mxfp4": (Dtype.MXFP4, _BF16_ACTIVATIONS),
    "w4a8_mxfp4_mxfp8": (Dtype.MXFP4, (("activations", "mxfp8"),)),
    "w4afp8": (Dtype.INT4, (("activations", "fp8"),)),
}


def number_format(name: str) -> tuple[str, Traits]:
    """Our name of the format, and the traits that tell it from others of that name."""
    if name not in _FORMATS:
        raise unknown("number format", name, _FORMATS, command=f"layouts are those of {VERSION}")
    return _FORMATS[name]
