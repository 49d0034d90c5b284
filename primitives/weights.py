"""How many weights a model has, matrix by matrix: what memory and the cost of a step count alike.

Norms, biases, position embeddings, multi-token-prediction layers and the encoders of multimodal
models are not counted; together they stay below one percent of the models of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LinearAttention,
    Mixer,
    ModelSpec,
)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix of `k` inputs and `n` outputs: `copies` of it, a token meets `active`."""

    name: str
    k: int
    n: int
    copies: int = 1
    active: int = 1
    fused: bool = False
    """Computed in one product with the matrix before it: same inputs, outputs side by side."""

    @property
    def params(self) -> int:
        """Weights of all copies."""
        return self.k * self.n * self.copies

    @property
    def active_params(self) -> int:
        """Weights of the copies that one token meets."""
        return self.k * self.n * self.active


KEPT_WIDE = frozenset({"router", "index_k", "index_weights"})
"""Matrices that no checkpoint quantizes, besides the embedding, the head and the norms."""


def mixer_matrices(mixer: Mixer, hidden: int) -> tuple[Matrix, ...]:
    """The matrices of a mixer; a recurrent one is stated as one row, its shapes are not kept."""
    match mixer:
        case Attention():
            query = mixer.heads * mixer.head_dim * (2 if mixer.output_gate else 1)
            return (
                Matrix("q", hidden, query),
                Matrix("k", hidden, mixer.kv_heads * mixer.head_dim, fused=True),
                Matrix("v", hidden, mixer.kv_heads * mixer.value_dim, fused=True),
                Matrix("o", mixer.heads * mixer.value_dim, hidden),
            )
        case LatentAttention():
            return _latent_matrices(mixer, hidden)
        case LinearAttention():
            return (Matrix("recurrent", 1, mixer.projection_params),)


def _latent_matrices(mixer: LatentAttention, hidden: int) -> tuple[Matrix, ...]:
    query = mixer.heads * (mixer.qk_nope_head_dim + mixer.qk_rope_head_dim)
    rank = mixer.q_lora_rank
    first = Matrix("q", hidden, query) if rank is None else Matrix("q_down", hidden, rank)
    second = () if rank is None else (Matrix("q_up", rank, query),)
    expanded = mixer.heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    indexer = (
        (
            Matrix("index_q", rank or hidden, mixer.index_heads * mixer.index_head_dim),
            Matrix("index_k", hidden, mixer.index_head_dim),
            Matrix("index_weights", hidden, mixer.index_heads, fused=True),
        )
        if mixer.index_heads
        else ()
    )
    return (
        first,
        Matrix("kv_down", hidden, mixer.latent_dim, fused=True),
        *second,
        Matrix("kv_up", mixer.kv_lora_rank, expanded),
        Matrix("o", mixer.heads * mixer.v_head_dim, hidden),
        *indexer,
    )


def ffn_matrices(ffn: Ffn, hidden: int) -> tuple[Matrix, ...]:
    """The matrices of a feed-forward layer: router, routed experts, shared experts, or one MLP."""
    if isinstance(ffn, DenseFfn):
        return _mlp("", hidden, ffn.width, ffn.gated)
    expert = ffn.latent_width or hidden
    latent = (
        (Matrix("latent_down", hidden, expert), Matrix("latent_up", expert, hidden))
        if ffn.latent_width
        else ()
    )
    routed = _mlp("expert_", expert, ffn.width, ffn.gated, ffn.experts, ffn.experts_per_token)
    shared = _mlp("shared_", hidden, ffn.shared_width, ffn.gated) if ffn.shared_width else ()
    return (Matrix("router", hidden, ffn.experts), *latent, *routed, *shared)


def _mlp(
    prefix: str, hidden: int, width: int, gated: bool, copies: int = 1, active: int = 1
) -> tuple[Matrix, ...]:
    gate = (Matrix(prefix + "gate", hidden, width, copies, active),) if gated else ()
    up = Matrix(prefix + "up", hidden, width, copies, active, fused=gated)
    return (*gate, up, Matrix(prefix + "down", width, hidden, copies, active))


def vocabulary_matrices(model: ModelSpec) -> tuple[Matrix, ...]:
    """The embedding and the head; one matrix where they are tied."""
    embedding = Matrix("embedding", model.vocab, model.hidden)
    head = Matrix("lm_head", model.hidden, model.vocab)
    return (embedding,) if model.tie_embeddings else (embedding, head)


def model_matrices(model: ModelSpec) -> Iterator[tuple[int, Matrix]]:
    """Every matrix of the model, with the number of times its layers repeat it."""
    for matrix in vocabulary_matrices(model):
        yield 1, matrix
    for group in model.layers:
        if group.mixer is not None:
            for matrix in mixer_matrices(group.mixer, model.hidden):
                yield group.count, matrix
        if group.ffn is not None:
            for matrix in ffn_matrices(group.ffn, model.hidden):
                yield group.count, matrix


def parameters(model: ModelSpec) -> int:
    """Weights of the whole model."""
    return sum(count * matrix.params for count, matrix in model_matrices(model))


def active_parameters(model: ModelSpec) -> int:
    """Weights that one token meets: all but the experts it is not routed to.

    Embedding and head count in full; some published figures leave one or both out.
    """
    return sum(count * matrix.active_params for count, matrix in model_matrices(model))
