"""What transformers 5.23.0 does when nothing is said, as facts of its continuous batching."""

from __future__ import annotations

from servecast.errors import UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.kv_cache_geometry import KvCacheGeometry
from servecast.primitives.model import Attention, ModelSpec

PAGE_SIZE = 256
MAX_BATCH_TOKENS = 8192
MAX_REQUESTS_PER_BATCH = 1024
MAX_MEMORY_PERCENT = 0.9
"""Of what is free once the model is loaded (`initialization.py`, `resolve_max_memory_percent`)."""

_INDEX_BYTES = 4
_SLOT_BYTES = 8
_FAST_DECODE_BLOCKS = 32
"""Blocks a request in the table of the fast decode path."""


def num_blocks(
    model: ModelSpec,
    geometry: KvCacheGeometry,
    accelerator: Accelerator,
    *,
    weights_bytes: int,
    memory_share: float,
    max_batch_tokens: int,
    max_requests_per_batch: int = MAX_REQUESTS_PER_BATCH,
) -> int:
    """KV blocks that a GPU's memory gives: `cache.py`, `PagedAttentionMemoryHandler`.

    With flash attention, activations of 16 bits, and a model that computes the logits of last
    tokens alone. Beside the cache there are the tensors of a step's tokens, copies of the keys and
    values that one layer reads, the logits of the requests, and two blocks that nobody uses.
    UnsupportedError for models with layers of another kind.
    """
    attention = _attention(model)
    free = memory_share * (accelerator.memory_bytes - weights_bytes)
    logits = max_requests_per_batch * (2 * model.hidden + 4 * model.vocab)
    tokens = max_batch_tokens * _bytes_per_token(attention, model.hidden)
    fixed = 2 * geometry.bytes_per_block + logits + tokens
    copied = _kv_bytes(attention) + _SLOT_BYTES
    each = geometry.bytes_per_block + geometry.block_size * copied
    return max(0, int((free - fixed) // each))


def _bytes_per_token(attention: Attention, hidden: int) -> int:
    """Of a step's token: hidden state, queries, keys and values twice, and its numbers."""
    queries = 2 * (hidden + attention.heads * attention.head_dim)
    numbers = (7 + 1 + _FAST_DECODE_BLOCKS) * _INDEX_BYTES + 2 * _SLOT_BYTES
    return queries + 2 * _kv_bytes(attention) + numbers


def _kv_bytes(attention: Attention) -> int:
    """Of one token's keys and values in one layer."""
    return 2 * attention.kv_heads * (attention.head_dim + attention.value_dim)


def _attention(model: ModelSpec) -> Attention:
    mixers = {group.mixer for group in model.layers}
    mixer = mixers.pop()
    if mixers or not isinstance(mixer, Attention) or mixer.window is not None:
        raise UnsupportedError(
            f"transformers is modelled for equal layers of full attention; `{model.name}` has "
            "others",
            hint="serve it with engine.name `vllm`",
        )
    return mixer
