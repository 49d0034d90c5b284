"""What a step computes: operations that know their FLOPs and bytes and nothing of time.

Sizes are per rank (already divided by tensor parallelism). The field that grows with the batch may
be an array, so that a whole curve is priced at once; FLOPs and bytes then are arrays too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.dtype import Dtype

Quantity = float | NDArray[np.float64]

ACTIVATION_BYTES = 2.0
"""Activations travel between operations in bf16."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """A matrix product (m, k) × (k, n); the weights (k, n) are stored in `dtype`."""

    m: Quantity
    n: int
    k: int
    dtype: Dtype

    @property
    def flops(self) -> Quantity:
        """Two per multiply-add."""
        return 2.0 * self.m * self.n * self.k

    @property
    def bytes(self) -> Quantity:
        """Weights read once, activations read and written."""
        return self.n * self.k * self.dtype.bytes + self.m * (self.n + self.k) * ACTIVATION_BYTES


@dataclass(frozen=True, slots=True)
class PrefillAttention:
    """Causal attention of one sequence's `new_tokens` over themselves and `past_tokens`."""

    new_tokens: Quantity
    past_tokens: Quantity
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    kv_dtype: Dtype
    window: int | None = None

    @property
    def pairs(self) -> Quantity:
        """Query–key pairs that the causal mask (and the window) lets through."""
        new, past = self.new_tokens, self.past_tokens
        if self.window is None:
            return new * past + new * (new + 1) / 2
        reach: Quantity = np.minimum(past, self.window - 1)
        growing: Quantity = np.minimum(new, self.window - 1 - reach)
        clipped: Quantity = (new - growing) * self.window
        return growing * reach + growing * (growing + 1) / 2 + clipped

    @property
    def flops(self) -> Quantity:
        """Scores and values: two per multiply-add and pair."""
        return 2.0 * self.pairs * self.heads * (self.head_dim + self.value_dim)

    @property
    def bytes(self) -> Quantity:
        """KV read once, queries read and outputs written."""
        past = (
            self.past_tokens if self.window is None else np.minimum(self.past_tokens, self.window)
        )
        width = self.head_dim + self.value_dim
        kv = (past + self.new_tokens) * self.kv_heads * width * self.kv_dtype.bytes
        return kv + self.new_tokens * self.heads * width * ACTIVATION_BYTES


@dataclass(frozen=True, slots=True)
class DecodeAttention:
    """One query token of each of `sequences` over `context_tokens` cached tokens (their mean)."""

    sequences: int
    context_tokens: Quantity
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    kv_dtype: Dtype
    shared_latent: bool = False
    """Keys and values are one cached latent (MLA): it is read once, not twice."""

    @property
    def flops(self) -> Quantity:
        """Scores and values: two per multiply-add and cached token."""
        pairs = self.sequences * self.context_tokens
        return 2.0 * pairs * self.heads * (self.head_dim + self.value_dim)

    @property
    def bytes(self) -> Quantity:
        """The KV cache of every sequence read once."""
        width = self.head_dim + (0 if self.shared_latent else self.value_dim)
        cached = self.sequences * self.context_tokens * self.kv_heads * width
        return cached * self.kv_dtype.bytes


@dataclass(frozen=True, slots=True)
class MoeExperts:
    """The routed experts of one layer for `tokens` tokens, on the rank's share of them.

    `local_experts` of `experts` live here, each `width` wide (already divided by moe-TP).
    """

    tokens: Quantity
    experts: int
    local_experts: int
    experts_per_token: int
    hidden: int
    width: int
    matrices: int
    dtype: Dtype

    @property
    def activated(self) -> Quantity:
        """Expected number of local experts that get a token under uniform routing."""
        miss = (1.0 - self.experts_per_token / self.experts) ** self.tokens
        return self.local_experts * (1.0 - miss)

    @property
    def flops(self) -> Quantity:
        """Every token visits its experts; the rank computes its share of them."""
        visits = self.tokens * self.experts_per_token * self.local_experts / self.experts
        return 2.0 * visits * self.matrices * self.hidden * self.width

    @property
    def bytes(self) -> Quantity:
        """Weights of the activated experts, activations of the visits."""
        visits = self.tokens * self.experts_per_token * self.local_experts / self.experts
        weights = self.activated * self.matrices * self.hidden * self.width * self.dtype.bytes
        return weights + visits * (self.hidden + self.width) * 2 * ACTIVATION_BYTES


@dataclass(frozen=True, slots=True)
class AllReduce:
    """Sum of `payload_bytes` over `ranks` accelerators."""

    payload_bytes: Quantity
    ranks: int

    @property
    def bytes(self) -> Quantity:
        """What one rank sends in a ring: 2 (r − 1) / r of the payload."""
        return 2.0 * (self.ranks - 1) / self.ranks * self.payload_bytes


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Norms, activations, rotary embedding, state updates: bound by the bytes they move."""

    bytes: Quantity


Operation = Gemm | PrefillAttention | DecodeAttention | MoeExperts | AllReduce | Elementwise
