"""What ranks send each other besides all-reduces: tensors in parts, and tokens to their experts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from servecast.primitives.operations import Quantity

FP8_ROW_SCALE = 4 / 128
"""Bytes of scales that an 8-bit row carries for each of its own: one fp32 for 128 values."""


@dataclass(frozen=True, slots=True)
class Collective:
    """Parts of a tensor of `payload_bytes`, gathered by, or summed and scattered over, `ranks`.

    Together the two kinds send what an all-reduce does.
    """

    kind: Literal["all_gather", "reduce_scatter"]
    payload_bytes: Quantity
    """The whole tensor: what a gather ends with, and a scatter begins with."""
    ranks: int
    nodes: int = 1
    """Over which the ranks are spread, equally many on each."""

    @property
    def bytes(self) -> Quantity:
        """What one rank sends in a ring: (r - 1) / r of the payload."""
        return (self.ranks - 1) / self.ranks * self.payload_bytes


@dataclass(frozen=True, slots=True)
class Send:
    """`bytes` from one rank to one on another node."""

    bytes: Quantity


@dataclass(frozen=True, slots=True)
class ExpertExchange:
    """Each rank's `tokens` sent to the ranks of their experts, or what these made of them back.

    DeepEP's two ways: with low latency a copy for each expert; for throughput one for each rank
    that has any of the token's experts, and one across the network for each such node.
    """

    kind: Literal["moe_dispatch", "moe_combine"]
    mode: Literal["low_latency", "high_throughput"]
    tokens: Quantity
    """Of one rank."""
    hidden: int
    experts_per_token: int
    ranks: int
    nodes: int = 1

    @property
    def row_bytes(self) -> float:
        """One token: 8 bits and scales on the way to its experts, 16 bits back."""
        return self.hidden * (1.0 + FP8_ROW_SCALE if self.kind == "moe_dispatch" else 2.0)

    @property
    def link_bytes(self) -> Quantity:
        """What a rank sends to others of its own node."""
        if self.mode == "low_latency":
            own_node = (self.ranks // self.nodes - 1) / self.ranks
            return self._all_bytes * self.experts_per_token * own_node
        others = (self.ranks - self.nodes) / self.ranks  # forwarded there, where it is not local
        return self._all_bytes * _hit(self.ranks, self.experts_per_token) * others

    @property
    def network_bytes(self) -> Quantity:
        """What a rank sends to other nodes."""
        others = (self.nodes - 1) / self.nodes
        if self.mode == "low_latency":
            return self._all_bytes * self.experts_per_token * others
        return self._all_bytes * _hit(self.nodes, self.experts_per_token) * others

    @property
    def bytes(self) -> Quantity:
        """Both together."""
        return self.link_bytes + self.network_bytes

    @property
    def _all_bytes(self) -> Quantity:
        return self.tokens * self.row_bytes


def _hit(places: int, choices: int) -> float:
    """Expected number of different places among so many even choices."""
    return places * (1.0 - (1.0 - 1.0 / places) ** choices)
