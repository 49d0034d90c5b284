"""The cost source that is always there: a roofline with named efficiencies and overheads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send
from servecast.primitives.ideal_time import EXPANDED, arithmetic
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import (
    AllReduce,
    DecodeAttention,
    DeltaRule,
    Elementwise,
    Gemm,
    MoeExperts,
    Operation,
    PrefillAttention,
    Quantity,
    SparseAttention,
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
    experts_flops: float = 0.35
    """Experts are many small products of unequal size. Their coefficients are fitted to the
    AIConfigurator tables of experts (H100, H200, B200, B300, three engines, routing by power law
    1.2; half of 78,000 points within 26 %), not to any server."""
    experts_flops_narrow: float = 0.25
    experts_flops_expanded: float = 0.20
    """The same where 4-bit weights are expanded to bf16 on the way."""
    experts_tile_rows: tuple[float, float] = (16.0, 128.0)
    """Rows of a tile, least and most: kernels choose twice the rows that an expert has."""
    experts_s: float = 15e-6
    """Routing, sorting and two products."""
    attention_flops: float = 0.60
    attention_bandwidth: float = 0.75
    elementwise_bandwidth: float = 0.65
    link_bandwidth: float = 0.70
    operation_s: float = 5e-6
    """Launch and tail of one kernel inside a CUDA graph."""
    network_bandwidth: float = 0.87
    """Between nodes: Mooncake's engine moves 87 GB/s by four adapters of 200 Gbit/s (FAST'25)."""
    network_s: float = 10e-6
    """A message between nodes: AIConfigurator's constant for point to point."""
    all_reduce_s: float = 3e-6
    all_reduce_rank_s: float = 0.75e-6
    """Latency of a small all-reduce: a constant and a term per rank."""
    expert_exchange_s: float = 20e-6
    """Tokens to their experts, or back: what DeepEP takes beyond its bytes (docs/expert-parallel.md
    has the errors)."""


RELATIVE_ERROR = 0.25
"""Half-width of the band around a step: wider than the 16 % that 90 % of the fitted points stay in,
for devices and models that were not fitted (docs/accuracy.md)."""


def network_bytes_per_s(device: Accelerator) -> float:
    """What the device's own network adapter carries; UnsupportedError where it is not known."""
    if device.network_bytes_per_s is None:
        raise UnsupportedError(
            f"the network adapter of {device.name} is not known: nothing is priced across its "
            f"nodes of {device.link.domain}",
            hint=f"take at most {device.link.domain} of them together",
        )
    return device.network_bytes_per_s


def _larger(one: Quantity, other: Quantity) -> Quantity:
    """Elementwise; of two numbers without numpy, which takes longer over them than the rest."""
    if isinstance(one, float) and isinstance(other, float):
        return max(one, other)
    return np.maximum(one, other)


class RooflineSource:
    """max(FLOPs / reached peak, bytes / reached bandwidth) + overhead, for every operation."""

    def __init__(self, coefficients: RooflineCoefficients | None = None) -> None:
        self.coefficients = coefficients or RooflineCoefficients()

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """Seconds of `operation` on `device` by the roofline (never below either roof)."""
        return Cost(self.seconds(operation, device), Provenance.ROOFLINE, RELATIVE_ERROR)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """None: it knows nothing of calls for both."""
        return None

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        c = self.coefficients
        match operation:
            case MoeExperts():
                return self._experts_s(operation, device)
            case SparseAttention():
                return sum((self.seconds(part, device) for part in operation.parts), 0.0)
            case Gemm():
                dtype = arithmetic(operation)
                share = c.gemm_flops if dtype.bytes >= 2 else c.gemm_flops_narrow
                compute = operation.flops / (device.peak_flops(dtype) * share)
                memory = operation.bytes / (device.bw_bytes_per_s * c.gemm_bandwidth)
            case PrefillAttention() | DecodeAttention() | DeltaRule():
                peak = device.peak_flops(Dtype.BF16) * c.attention_flops
                compute = operation.flops / peak
                memory = operation.bytes / (device.bw_bytes_per_s * c.attention_bandwidth)
            case Elementwise():
                reached = device.bw_bytes_per_s * c.elementwise_bandwidth
                return operation.bytes / reached + c.operation_s
            case AllReduce():
                return self._all_reduce_s(operation, device)
            case Collective():
                return self._collective_s(operation, device)
            case Send():
                reached = network_bytes_per_s(device) * c.network_bandwidth
                return operation.bytes / reached + c.network_s
            case ExpertExchange():
                return self._expert_exchange_s(operation, device)
        return _larger(compute, memory) + c.operation_s

    def _all_reduce_s(self, operation: AllReduce, device: Accelerator) -> Quantity:
        """Inside each node first and last; between them each rank sends its share."""
        c = self.coefficients
        nodes = -(-operation.ranks // device.link.domain)
        inside = AllReduce(operation.payload_bytes, -(-operation.ranks // nodes))
        latency = c.all_reduce_s + c.all_reduce_rank_s * inside.ranks
        reached = device.link.bw_bytes_per_s * c.link_bandwidth
        seconds = inside.bytes / reached + latency if inside.ranks > 1 else 0.0
        if nodes == 1:
            return seconds
        across = AllReduce(operation.payload_bytes / inside.ranks, nodes)
        reached = network_bytes_per_s(device) * c.network_bandwidth
        return seconds + across.bytes / reached + 2 * (nodes - 1) * c.network_s

    def _collective_s(self, operation: Collective, device: Accelerator) -> Quantity:
        """Half of an all-reduce, each half with the latency of a whole one inside the node."""
        c, inside = self.coefficients, operation.ranks // operation.nodes
        part = Collective(operation.kind, operation.payload_bytes, inside)
        latency = c.all_reduce_s + c.all_reduce_rank_s * inside
        reached = device.link.bw_bytes_per_s * c.link_bandwidth
        seconds = part.bytes / reached + latency if inside > 1 else 0.0
        if operation.nodes == 1:
            return seconds
        share = Collective(operation.kind, operation.payload_bytes / inside, operation.nodes)
        reached = network_bytes_per_s(device) * c.network_bandwidth
        return seconds + share.bytes / reached + (operation.nodes - 1) * c.network_s

    def _expert_exchange_s(self, operation: ExpertExchange, device: Accelerator) -> Quantity:
        """The slower of the node's link and the network, which carry their parts together."""
        c = self.coefficients
        seconds = operation.link_bytes / (device.link.bw_bytes_per_s * c.link_bandwidth)
        if operation.nodes > 1:
            reached = network_bytes_per_s(device) * c.network_bandwidth
            seconds = _larger(seconds, operation.network_bytes / reached)
        return seconds + c.expert_exchange_s

    def _experts_s(self, operation: MoeExperts, device: Accelerator) -> Quantity:
        c, dtype = self.coefficients, arithmetic(operation)
        share = c.experts_flops if dtype.bytes >= 2 else c.experts_flops_narrow
        if operation.dtype in EXPANDED and dtype is Dtype.BF16:
            share = c.experts_flops_expanded
        activated = np.maximum(operation.activated, 1e-9)
        tile_rows = np.clip(2.0 * operation.visits / activated, *c.experts_tile_rows)
        rows = operation.visits + activated * tile_rows / 2  # half of a last tile is empty
        compute = rows * operation.flops_per_visit / (device.peak_flops(dtype) * share)
        memory = operation.bytes / (device.bw_bytes_per_s * c.gemm_bandwidth)
        return np.maximum(compute, memory) + c.experts_s
