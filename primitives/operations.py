"""What a step computes: operations that know their FLOPs and bytes and nothing of time.

Sizes are per rank (already divided by tensor parallelism). The field that grows with the batch may
be an array, so that a whole curve is priced at once; FLOPs and bytes then are arrays too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, ExpertExchange, Send

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

    sequences: Quantity
    context_tokens: Quantity
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    kv_dtype: Dtype
    shared_latent: bool = False
    """Keys and values are one cached latent (MLA): it is read once, not twice."""
    window: int | None = None
    """The sliding window in tokens: no query attends to more of its latest ones."""
    fill: float = 1.0
    """The share of the clipped mean context that is really attended to: below one where some
    contexts are shorter than the window and others longer (Jensen's gap)."""

    @property
    def tokens_read(self) -> Quantity:
        """Cached tokens that all queries together attend to."""
        reach = self.context_tokens
        if self.window is not None:
            reach = np.minimum(reach, self.window) * self.fill
        return self.sequences * reach

    @property
    def token_flops(self) -> float:
        """Scores and values: two per multiply-add and cached token."""
        return 2.0 * self.heads * (self.head_dim + self.value_dim)

    @property
    def token_bytes(self) -> float:
        """One cached token, read once."""
        width = self.head_dim + (0 if self.shared_latent else self.value_dim)
        return self.kv_heads * width * self.kv_dtype.bytes

    @property
    def flops(self) -> Quantity:
        """Of all cached tokens."""
        return self.tokens_read * self.token_flops

    @property
    def bytes(self) -> Quantity:
        """The KV cache of every sequence read once."""
        return self.tokens_read * self.token_bytes


@dataclass(frozen=True, slots=True)
class SparseAttention:
    """Latent attention of one layer over the tokens that an indexer picks, with the indexer."""

    attended: PrefillAttention | DecodeAttention
    """Its window is the number of tokens picked."""
    indexer: PrefillAttention | DecodeAttention | None
    """None where the picks of an earlier layer are used again."""
    kv_dtype: Dtype
    products: tuple[Gemm, ...]
    """The layer's projections of the same tokens: no part of this operation, but modules that were
    measured hold them too."""

    @property
    def parts(self) -> tuple[PrefillAttention | DecodeAttention, ...]:
        """The operations that it consists of."""
        return (self.attended,) if self.indexer is None else (self.indexer, self.attended)

    @property
    def hidden(self) -> int:
        """Width of the model."""
        return self.products[0].k

    @property
    def flops(self) -> Quantity:
        """Of its parts."""
        return sum((part.flops for part in self.parts), 0.0)

    @property
    def bytes(self) -> Quantity:
        """Of its parts."""
        return sum((part.bytes for part in self.parts), 0.0)


DELTA_CHUNK = 64
"""Tokens that kernels of the gated delta rule compute together."""


@dataclass(frozen=True, slots=True)
class DeltaRule:
    """The gated delta rule over one sequence's `new_tokens`, chunk by chunk."""

    new_tokens: Quantity
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int

    @property
    def flops(self) -> Quantity:
        """Two per multiply-add: five products inside a chunk, three with the state."""
        inside = DELTA_CHUNK * (3 * self.key_dim + 2 * self.value_dim)
        with_state = 3 * self.key_dim * self.value_dim
        return 2.0 * self.new_tokens * self.value_heads * (inside + with_state)

    @property
    def bytes(self) -> Quantity:
        """Queries, keys and values read, outputs written; the state read and written in fp32."""
        width = 2 * self.key_heads * self.key_dim + 2 * self.value_heads * self.value_dim
        state = 2 * self.value_heads * self.key_dim * self.value_dim * 4.0
        return self.new_tokens * width * ACTIVATION_BYTES + state


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
    multiplied_in: Dtype | None = None
    """The format of the multiplications, where it is not what `dtype` suggests."""

    @property
    def activated(self) -> Quantity:
        """Expected number of local experts that get a token under uniform routing."""
        miss = (1.0 - self.experts_per_token / self.experts) ** self.tokens
        return self.local_experts * (1.0 - miss)

    @property
    def visits(self) -> Quantity:
        """Rows that the local experts compute in all: every token visits its experts."""
        return self.tokens * self.experts_per_token * self.local_experts / self.experts

    @property
    def flops(self) -> Quantity:
        """Two per multiply-add of every visit."""
        return self.visits * self.flops_per_visit

    @property
    def flops_per_visit(self) -> float:
        """Those of one token in one expert."""
        return 2.0 * self.matrices * self.hidden * self.width

    @property
    def bytes(self) -> Quantity:
        """Weights of the activated experts, activations of the visits."""
        weights = self.activated * self.matrices * self.hidden * self.width * self.dtype.bytes
        return weights + self.visits * (self.hidden + self.width) * 2 * ACTIVATION_BYTES


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


Operation = (
    Gemm
    | PrefillAttention
    | DecodeAttention
    | SparseAttention
    | DeltaRule
    | MoeExperts
    | AllReduce
    | Collective
    | Send
    | ExpertExchange
    | Elementwise
)
