"""The cost source that is always there: a roofline with named efficiencies and overheads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
)


@dataclass(frozen=True, slots=True)
class RooflineCoefficients:
    """Shares of the data sheet's peaks that kernels reach, and the time that no peak explains.

    Fitted by hand-sized steps on the dense vLLM rows of the development part of the public silicon
    sample (315 points; H100, H200, B200; bf16, fp8, fp4); docs/accuracy.md has the error by group.
    """

    gemm_flops: float = 0.80
    gemm_flops_narrow: float = 0.40
    """The same for 8- and 4-bit formats, which also quantize activations on the way."""
    gemm_bandwidth: float = 0.70
    attention_flops: float = 0.60
    attention_bandwidth: float = 0.75
    elementwise_bandwidth: float = 0.65
    link_bandwidth: float = 0.70
    operation_s: float = 5e-6
    """Launch and tail of one kernel inside a CUDA graph."""
    all_reduce_s: float = 3e-6
    all_reduce_rank_s: float = 0.75e-6
    """Latency of a small all-reduce: a constant and a term per rank."""


RELATIVE_ERROR = 0.25
"""Half-width of the band around a step: wider than the 16 % that 90 % of the fitted points stay in,
for devices and models that were not fitted (docs/accuracy.md)."""

_WEIGHT_ONLY = {Dtype.INT4, Dtype.MXFP4}
"""Formats whose weights are expanded to bf16 before the product."""


class RooflineSource:
    """max(FLOPs / reached peak, bytes / reached bandwidth) + overhead, for every operation."""

    def __init__(self, coefficients: RooflineCoefficients | None = None) -> None:
        self.coefficients = coefficients or RooflineCoefficients()

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation` on `device` by the roofline (never below either roof)."""
        return Cost(self._seconds(operation, device), Provenance.ROOFLINE, RELATIVE_ERROR)

    def _seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        c = self.coefficients
        match operation:
            case Gemm() | MoeExperts():
                dtype = Dtype.BF16 if operation.dtype in _WEIGHT_ONLY else operation.dtype
                share = c.gemm_flops if dtype.bytes >= 2 else c.gemm_flops_narrow
                compute = operation.flops / (device.peak_flops(dtype) * share)
                memory = operation.bytes / (device.bw_bytes_per_s * c.gemm_bandwidth)
            case PrefillAttention() | DecodeAttention():
                peak = device.peak_flops(Dtype.BF16) * c.attention_flops
                compute = operation.flops / peak
                memory = operation.bytes / (device.bw_bytes_per_s * c.attention_bandwidth)
            case Elementwise():
                reached = device.bw_bytes_per_s * c.elementwise_bandwidth
                return operation.bytes / reached + c.operation_s
            case AllReduce():
                latency = c.all_reduce_s + c.all_reduce_rank_s * operation.ranks
                return operation.bytes / (device.link.bw_bytes_per_s * c.link_bandwidth) + latency
        return np.maximum(compute, memory) + c.operation_s
