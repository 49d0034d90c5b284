"""How many bytes the weights take on the fullest rank, each matrix in the format it is kept in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    DenseFfn,
    Ffn,
    LatentAttention,
    LayerGroup,
    Mixer,
    ModelSpec,
    MoeFfn,
)
from servecast.primitives.sharding import VOCAB_PADDING, Sharding, cdiv
from servecast.primitives.weights import KEPT_WIDE, Matrix, ffn_matrices, mixer_matrices

_PLAIN = frozenset({Dtype.FP32, Dtype.BF16, Dtype.FP16})
_FOUR_BIT = frozenset({Dtype.INT4, Dtype.MXFP4, Dtype.NVFP4})
_TILE_WIDTH, _TILE_HIDDEN = 128, 256


def weight_bytes(
    model: ModelSpec, sharding: Sharding, weights_dtype: Dtype, *, vocabulary: bool = True
) -> int:
    """Bytes of the weights of one rank of the dearest pipeline stage.

    Large matrices are in `weights_dtype`; embedding, head, router and the indexer's key stay in
    16 bits, and so do the mixers of a mixture of experts in a 4-bit format (gpt-oss, Kimi-K2, NVFP4
    checkpoints of DeepSeek). Norms and biases, below 0.1 %, are not counted. With pipeline
    parallelism a stage has the embedding or the head, not both. Without `vocabulary` they are
    another model's.
    """
    wide = wide_dtype(weights_dtype)
    total = _vocabulary_params(model, sharding) * wide.bytes if vocabulary else 0.0
    for group in sharding.stage(model):
        layer = 0.0
        if group.mixer is not None:
            narrow = mixer_dtype(group, weights_dtype)
            layer += _mixer_bytes(sharding.local_mixer(group.mixer), model.hidden, narrow, wide)
        if group.ffn is not None:
            layer += _ffn_bytes(group.ffn, sharding, model.hidden, weights_dtype, wide)
        total += group.count * layer
    return round(total)


def wide_dtype(weights_dtype: Dtype) -> Dtype:
    """The format of what is never quantized."""
    return weights_dtype if weights_dtype in _PLAIN else Dtype.BF16


def mixer_dtype(group: LayerGroup, weights_dtype: Dtype) -> Dtype:
    """The format of a layer's mixer: wide beside experts in a 4-bit format."""
    if isinstance(group.ffn, MoeFfn) and weights_dtype in _FOUR_BIT:
        return Dtype.BF16
    return weights_dtype


def _vocabulary_params(model: ModelSpec, sharding: Sharding) -> int:
    rows = cdiv(cdiv(model.vocab, VOCAB_PADDING) * VOCAB_PADDING, sharding.tensor_parallel_size)
    one = model.tie_embeddings or sharding.pipeline_parallel_size > 1
    return rows * model.hidden * (1 if one else 2)


def _bytes(matrices: Iterable[Matrix], narrow: Dtype, wide: Dtype) -> float:
    return sum(m.params * (wide if m.name in KEPT_WIDE else narrow).bytes for m in matrices)


def _mixer_bytes(mixer: Mixer, hidden: int, narrow: Dtype, wide: Dtype) -> float:
    """A latent's expansion is kept twice: as loaded, and in 16 bits for decoding on the latent."""
    matrices = mixer_matrices(mixer, hidden)
    total = _bytes(matrices, narrow, wide)
    if isinstance(mixer, LatentAttention):
        total += sum(m.params for m in matrices if m.name == "kv_up") * wide.bytes
    return total


def _ffn_bytes(ffn: Ffn, sharding: Sharding, hidden: int, narrow: Dtype, wide: Dtype) -> float:
    """The router is copied whole to each rank; mxfp4 experts are padded to the kernels' tiles."""
    local = sharding.local_ffn(ffn)
    if isinstance(local, DenseFfn):
        return _bytes(ffn_matrices(local, hidden), narrow, wide)
    router = (m for m in ffn_matrices(ffn, hidden) if m.name == "router")
    rest = [m for m in ffn_matrices(local, hidden) if m.name != "router"]
    if narrow is Dtype.MXFP4:
        padded = replace(local, width=cdiv(local.width, _TILE_WIDTH) * _TILE_WIDTH)
        tiled = cdiv(hidden, _TILE_HIDDEN) * _TILE_HIDDEN
        rest = [m for m in ffn_matrices(padded, tiled) if m.name != "router"]
    return _bytes((*router, *rest), narrow, wide)
