"""A model as a serving engine sees it: its layers by kind, with nothing of weights or text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from servecast.primitives.dtype import Dtype


@dataclass(frozen=True, slots=True)
class Attention:
    """Softmax attention with grouped KV heads; `window` is the sliding window in tokens, if any."""

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    v_head_dim: int | None = None
    """Width of a value head where it differs from `head_dim`."""
    output_gate: bool = False
    """The query projection also yields a gate on the output, so it is twice as wide."""
    chunked: bool = False
    """The window does not slide: texts are cut into chunks of it, and a query sees its own."""

    @property
    def value_dim(self) -> int:
        """Width of one value head."""
        return self.v_head_dim or self.head_dim


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (MLA): one cached latent per token, shared by all heads."""

    heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    index_topk: int | None = None
    """Sparse attention (DSA): each query attends to this many tokens at most, or None for dense."""
    index_heads: int = 0
    index_head_dim: int = 0
    """The indexer that picks them: its heads and their width.

    0 where attention is dense, and where the layer reuses the picks of an earlier one.
    """

    @property
    def latent_dim(self) -> int:
        """Elements cached per token and layer."""
        return self.kv_lora_rank + self.qk_rope_head_dim


@dataclass(frozen=True, slots=True)
class DeltaHeads:
    """Heads of a gated delta net, whose rule is computed over a prompt in chunks."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """A recurrent mixer (Mamba, gated delta net): a constant state instead of a cache."""

    projection_params: int
    """Weights of its projections and convolution."""
    state_elements: int
    """Elements of recurrent state per sequence."""
    convolution_elements: int = 0
    """The last inputs of its convolution, per sequence; kept in 16 bits, as activations are."""
    state_dtype: Dtype = Dtype.FP32
    """What the engine keeps the recurrent state in, which the model's own file may say."""
    writes_checkpoints: bool = False
    """Whether its kernel gives out the state from within a prompt, for a prefix cache."""
    delta: DeltaHeads | None = None
    """None for other mixers, of which a prompt is priced as the state that it moves."""

    @property
    def state_bytes(self) -> int:
        """Bytes that it keeps per sequence."""
        state = math.ceil(self.state_elements * self.state_dtype.bytes)
        return state + math.ceil(self.convolution_elements * Dtype.BF16.bytes)


@dataclass(frozen=True, slots=True)
class DenseFfn:
    """A feed-forward layer; gated means three matrices (SwiGLU), otherwise two."""

    width: int
    gated: bool = True


@dataclass(frozen=True, slots=True)
class MoeFfn:
    """A mixture of experts: `experts_per_token` of `experts`, and shared experts always on."""

    experts: int
    experts_per_token: int
    width: int
    shared_width: int = 0
    """Total width of the shared experts."""
    gated: bool = True
    latent_width: int | None = None
    """What routed experts take and give where it is narrower than the model's hidden size.

    Two projections, shared by the experts of the layer, lead there and back.
    """


Mixer = Attention | LatentAttention | LinearAttention
Ffn = DenseFfn | MoeFfn


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """`count` equal layers; hybrids have layers with a mixer alone or a feed-forward part alone."""

    count: int
    mixer: Mixer | None
    ffn: Ffn | None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model architecture. The order of layers does not matter to cost and is not kept."""

    name: str
    architecture: str
    hidden: int
    vocab: int
    tie_embeddings: bool
    max_model_len: int
    weights_dtype: Dtype
    """The format of the published checkpoint's large matrices."""
    layers: tuple[LayerGroup, ...]
    source: str
    mtp_layers: int = 0

    @property
    def num_layers(self) -> int:
        """Layers in all, whatever their kind."""
        return sum(group.count for group in self.layers)
