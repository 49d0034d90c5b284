"""One thing to measure, what measuring it gave, and the bench that measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from servecast.primitives.cost_table import DIMENSIONS, TableKey

Point = tuple[int, ...]

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")

GROWING: Mapping[str, tuple[str, ...]] = {
    "gemm": ("m",),
    "prefill_attention": ("past_tokens", "new_tokens"),
    "decode_attention": ("batch", "context_tokens"),
    "verify_attention": ("batch", "context_tokens"),
    "mixed_attention": ("sequences", "new_tokens"),
    "block_sparse_attention": ("density_percent", "tokens"),
    "mla_prefill": ("past_tokens", "new_tokens"),
    "mla_decode": ("batch", "context_tokens"),
    "moe": ("tokens",),
    "elementwise": ("tokens",),
    "sampling": ("sequences",),
    "host_copy": ("bytes",),
    "model_step": ("sequences", "context_tokens"),
    **dict.fromkeys(COLLECTIVES, ("payload_elements",)),
}
"""The operations that are measured, with the sizes that grow with the batch: rows, then columns."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One point of one table: what a bench is asked to time."""

    key: TableKey
    point: Point
    """One integer for each dimension of the operation."""

    @property
    def sizes(self) -> dict[str, int]:
        """The dimensions by name."""
        return dict(zip(DIMENSIONS[self.key.operation], self.point, strict=True))


@dataclass(frozen=True, slots=True)
class Timing:
    """The time of one call: the median of the repeats, and half of what 80 % of them span."""

    seconds: float
    spread: float
    """Relative to the seconds."""
    eager: Timing | None = None
    """The same outside CUDA graphs, where there are any."""


class Bench(Protocol):
    """A device that is measured; profiling asks it for one probe after the other."""

    @property
    def version(self) -> str:
        """Of the library whose kernels it runs."""
        ...

    def time(self, probe: Probe) -> Timing:
        """The time of the probe; UnsupportedError says why it cannot be measured here."""
        ...

    def launch_s(self) -> Mapping[str, float]:
        """Seconds that starting a kernel takes which does next to nothing, by way of starting."""
        ...
