"""An accelerator as its data sheet states it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from servecast.primitives.dtype import Dtype

Confidence = Literal["seen", "partly", "recalled", "guess"]


@dataclass(frozen=True, slots=True)
class Link:
    """The scale-up link between accelerators of one node: bytes per second one way, per device."""

    name: str
    bw_bytes_per_s: float
    domain: int
    """How many accelerators it joins; beyond it traffic leaves the node."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device (GPU, TPU, CPU …). Peak figures are dense, never with structured sparsity."""

    name: str
    vendor: str
    kind: str
    memory_bytes: int
    """What the driver reports as usable, the base of the engine's memory ledger."""
    bw_bytes_per_s: float
    flops: dict[Dtype, float] = field(hash=False)
    """Dense peak FLOP/s by format; a format that the device lacks is absent."""
    link: Link
    tdp_w: float | None
    """The most that the whole device draws for long."""
    usd_per_hour: float | None
    """A public on-demand price, or None where none was found; the scenario's own price wins."""
    confidence: Confidence
    source: str
    network_bytes_per_s: float | None = None
    """Of its own adapter towards other nodes, one way; None where not known."""
    host_bytes_per_s: float | None = None
    """To its host's memory, one way, as the data sheet states it; None where not known."""
    idle_w: float | None = None
    """What it draws while it serves nothing; None where nobody has published that."""

    def peak_flops(self, dtype: Dtype) -> float:
        """Dense peak FLOP/s for matrix products in `dtype`.

        A format without hardware support runs in bf16 after conversion (weight-only quantization).
        """
        return self.flops.get(dtype, self.flops[Dtype.BF16])
