"""What an operation would take at the peaks of the device's data sheet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    SparseAttention,
)

EXPANDED = frozenset({Dtype.INT4, Dtype.MXFP4})
"""Formats whose weights are expanded to bf16 before the product."""


def ideal_s(operation: Operation, device: Accelerator) -> NDArray[np.float64]:
    """Seconds at the device's peaks: max(FLOPs / peak, bytes / bandwidth)."""
    peak, rate = device.peak_flops(arithmetic(operation)), device.bw_bytes_per_s
    match operation:
        case Elementwise():
            return np.asarray(operation.bytes / rate)
        case AllReduce() | Collective() | Send() | ExpertExchange():
            return np.asarray(operation.bytes / device.link.bw_bytes_per_s)
        case DecodeAttention():
            per_token_s = max(operation.token_flops / peak, operation.token_bytes / rate)
            return np.asarray(operation.tokens_read * per_token_s)
        case SparseAttention():
            return sum((ideal_s(part, device) for part in operation.parts), np.zeros(()))
        case _:
            return np.maximum(operation.flops / peak, operation.bytes / rate)


def arithmetic(operation: Operation) -> Dtype:
    """The format that the operation's multiplications are done in."""
    if isinstance(operation, MoeExperts) and operation.multiplied_in is not None:
        return operation.multiplied_in
    if isinstance(operation, Gemm | MoeExperts) and operation.dtype not in EXPANDED:
        return operation.dtype
    return Dtype.BF16
