"""From a model and its sharding to the operations of one step on one rank.

A step's cost separates into four parts, each a function of few numbers: what every token passes
(projections, feed-forward, norms, collectives), what every sampled sequence passes (the head), the
decode group's attention, and each prefill chunk's attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.exchanges import Collective, Send
from servecast.primitives.expert_operations import OF_ALL_RANKS, expert_operations
from servecast.primitives.latent_operations import latent_decode, latent_prefill
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    MoeFfn,
)
from servecast.primitives.operations import (
    ACTIVATION_BYTES,
    AllReduce,
    DecodeAttention,
    DeltaRule,
    Elementwise,
    Gemm,
    Operation,
    PrefillAttention,
    Quantity,
)
from servecast.primitives.sharding import Sharding, cdiv
from servecast.primitives.weight_memory import mixer_dtype, wide_dtype
from servecast.primitives.weights import KEPT_WIDE, Matrix, ffn_matrices, mixer_matrices

Counted = Iterator[tuple[int, Operation]]
"""Operations with how often the step runs each."""


def token_operations(deployment: Deployment, tokens: Quantity) -> Counted:
    """What `tokens` tokens pass in all layers, attention scores aside."""
    model, sharding = deployment.model, Sharding.of(deployment)
    row = tokens * model.hidden * ACTIVATION_BYTES
    yield 1, Elementwise(2 * row)  # embedding
    for group in model.layers:
        parts: list[Iterator[Operation]] = []
        if group.mixer is not None:
            local = sharding.local_mixer(group.mixer)
            mixed = _mixer_operations(deployment, group, local, tokens)
            parts.append(chain(mixed, _sum(sharding, row)))
        if group.ffn is not None:
            parts.append(_ffn_operations(deployment, sharding, group, tokens))
        for part in parts:
            yield group.count, Elementwise(4 * row)  # residual add and norm
            for operation in part:
                yield group.count, operation


def own_operations(deployment: Deployment, tokens: Quantity) -> Counted:
    """What of `token_operations` a data-parallel rank computes alone, with so many of its own."""
    for count, operation in token_operations(deployment, tokens):
        if not isinstance(operation, OF_ALL_RANKS):
            yield count, operation


def shared_operations(deployment: Deployment, tokens: Quantity) -> Counted:
    """What of it data-parallel ranks compute together, with so many tokens of all of them."""
    for count, operation in token_operations(deployment, tokens / deployment.data_parallel_size):
        if isinstance(operation, OF_ALL_RANKS):
            yield count, operation


def _sum(sharding: Sharding, row: Quantity) -> Iterator[Operation]:
    """What tensor-parallel ranks have computed is added up."""
    if sharding.tensor_parallel_size > 1:
        yield AllReduce(row, sharding.tensor_parallel_size)


def _products(
    matrices: Iterable[Matrix], tokens: Quantity, narrow: Dtype, wide: Dtype
) -> Iterator[Operation]:
    """One product for each run of fused matrices."""
    runs: list[tuple[int, int, Dtype]] = []
    for matrix in matrices:
        if matrix.fused:
            n, k, dtype = runs[-1]
            runs[-1] = (n + matrix.n, k, dtype)
        else:
            runs.append((matrix.n, matrix.k, wide if matrix.name in KEPT_WIDE else narrow))
    for n, k, dtype in runs:
        yield Gemm(tokens, n, k, dtype)


def _mixer_operations(
    deployment: Deployment, group: LayerGroup, local: Mixer, tokens: Quantity
) -> Iterator[Operation]:
    hidden, weights = deployment.model.hidden, deployment.weights_dtype
    narrow, wide = mixer_dtype(group, weights), wide_dtype(weights)
    matrices = mixer_matrices(local, hidden)
    if isinstance(local, LinearAttention):
        width = cdiv(local.projection_params, hidden)
        yield Gemm(tokens, width, hidden, narrow)
        yield Elementwise(tokens * 2 * width * ACTIVATION_BYTES)  # convolution and gates
        return
    yield from _products(matrices, tokens, narrow, wide)
    rotated = sum(matrix.n for matrix in matrices if matrix.name in _ROTATED)
    yield Elementwise(tokens * 2 * rotated * ACTIVATION_BYTES)  # rotary embedding, cache write


def _own_products(
    deployment: Deployment, group: LayerGroup, local: LatentAttention, tokens: Quantity
) -> tuple[Gemm, ...]:
    """The projections of a layer, as the step prices them for all its tokens."""
    operations = _mixer_operations(deployment, group, local, tokens)
    return tuple(operation for operation in operations if isinstance(operation, Gemm))


_ROTATED = frozenset({"q", "k", "q_up", "kv_down"})


def _ffn_operations(
    deployment: Deployment, sharding: Sharding, group: LayerGroup, tokens: Quantity
) -> Iterator[Operation]:
    ffn, hidden, narrow = group.ffn, deployment.model.hidden, deployment.weights_dtype
    if ffn is None:
        return
    local = sharding.local_ffn(ffn)
    plain = [m for m in ffn_matrices(local, hidden) if not m.name.startswith("expert_")]
    row, tp = tokens * hidden * ACTIVATION_BYTES, sharding.tensor_parallel_size
    is_shared_out = isinstance(ffn, MoeFfn) and sharding.copies_shared_experts
    if isinstance(ffn, MoeFfn) and isinstance(local, MoeFfn):
        router = next(m for m in ffn_matrices(ffn, hidden) if m.name == "router")
        plain = [router, *(m for m in plain if m.name != "router")]  # copied to every rank
        yield from expert_operations(deployment, sharding, ffn, tokens)
        tokens = tokens / tp if is_shared_out else tokens
        width = local.shared_width
    else:
        width = local.width if isinstance(local, DenseFfn) else 0
    yield from _products(plain, tokens, narrow, wide_dtype(narrow))
    if width:
        yield Elementwise(tokens * (3 if ffn.gated else 2) * width * ACTIVATION_BYTES)
    if is_shared_out:
        yield Collective("all_gather", row, tp, cdiv(tp, deployment.accelerator.link.domain))
    else:
        yield from _sum(sharding, row)


def head_operations(deployment: Deployment, sequences: Quantity) -> Counted:
    """The language-model head and the sampler, for every sequence that samples a token."""
    model, tp = deployment.model, deployment.tensor_parallel_size
    head_dtype = wide_dtype(deployment.weights_dtype)
    yield 1, Gemm(sequences, cdiv(model.vocab, tp), model.hidden, head_dtype)
    if tp > 1:
        yield 1, AllReduce(sequences * model.vocab * ACTIVATION_BYTES / 2, tp)  # gather of logits
    yield 1, Elementwise(sequences * model.vocab * 3 * 4)  # fp32 logits: cast, penalties, sample


def handover_operations(
    deployment: Deployment, tokens: Quantity, *, leaves_node: bool = False
) -> Counted:
    """What a pipeline stage sends to the next one for `tokens` tokens: hidden state and residual.

    Each tensor-parallel rank sends its part. Inside a node an all-reduce of two sends as many bytes
    over the link and waits as long for the other side, so that is what it is priced as there.
    """
    row = tokens * deployment.model.hidden * ACTIVATION_BYTES
    part = 2 * row / deployment.tensor_parallel_size
    yield 1, Send(part) if leaves_node else AllReduce(part, 2)


def decode_operations(
    deployment: Deployment, sequences: int, context_tokens: Quantity, fill: float = 1.0
) -> Counted:
    """Attention of a decode group of `sequences` with mean context `context_tokens`.

    `fill` is the share of a sliding window's clipped mean that is really cached.
    """
    sharding, kv_dtype = Sharding.of(deployment), deployment.kv_cache_dtype
    for group in deployment.model.layers:
        if group.mixer is None:
            continue
        match sharding.local_mixer(group.mixer):
            case Attention() as a:
                yield group.count, DecodeAttention(
                    sequences, context_tokens + 1.0, a.heads, a.kv_heads, a.head_dim, a.value_dim,
                    kv_dtype, window=a.window, fill=fill,
                )  # fmt: skip
            case LatentAttention() as a:
                products = _own_products(deployment, group, a, float(sequences))
                context = context_tokens + 1.0
                yield group.count, latent_decode(a, sequences, context, kv_dtype, products)
            case LinearAttention() as a:
                moved = 2.0 * sequences * a.state_bytes
                yield group.count, Elementwise(moved + 0.0 * context_tokens)


def prefill_operations(
    deployment: Deployment, new_tokens: Quantity, past_tokens: Quantity
) -> Counted:
    """Attention of one prefill chunk over itself and the tokens cached before it."""
    sharding, kv_dtype = Sharding.of(deployment), deployment.kv_cache_dtype
    for group in deployment.model.layers:
        if group.mixer is None:
            continue
        match sharding.local_mixer(group.mixer):
            case Attention() as a:
                yield group.count, PrefillAttention(
                    new_tokens, past_tokens, a.heads, a.kv_heads, a.head_dim, a.value_dim,
                    kv_dtype, a.window,
                )  # fmt: skip
            case LatentAttention() as a:
                products = _own_products(deployment, group, a, new_tokens)
                for operation in latent_prefill(a, new_tokens, past_tokens, kv_dtype, products):
                    yield group.count, operation
            case LinearAttention() as a:
                yield group.count, _linear_prefill(a, new_tokens)


def _linear_prefill(mixer: LinearAttention, new_tokens: Quantity) -> Operation:
    """The rule of a gated delta net; of another mixer the state that is read and written."""
    if mixer.delta is None:
        return Elementwise(2.0 * mixer.state_bytes + 0.0 * new_tokens)
    heads = mixer.delta
    return DeltaRule(new_tokens, heads.key_heads, heads.value_heads, heads.key_dim, heads.value_dim)
