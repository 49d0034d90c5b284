"""The blocks of an engine's KV cache: how large one is, and how many a request takes.

Block arithmetic of vLLM 0.32.0 (v1/core/kv_cache_utils.py, v1/kv_cache_interface.py): exact, no
prior in it. Layouts that pack pages of several sizes into one block (DeepSeek-V4) and block scales
of 4-bit caches beyond `Dtype.bytes` are not modelled.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention, LatentAttention, LinearAttention, Mixer, ModelSpec
from servecast.primitives.sharding import Sharding, cdiv

CacheKind = Literal["full", "window", "state"]

SPARSE_LATENT_FP8_BYTES = 656
"""An fp8 latent for sparse attention: 512 fp8, 4 scales, 64 in bf16 (vLLM's `fp8_ds_mla`)."""

INDEX_SCALE_BYTES = 4
"""The indexer keeps fp8 keys with one fp32 scale per key of 128."""

LATENT_HYBRID_BLOCK = 128
"""MLA beside recurrent layers gets blocks in multiples of this many tokens."""


@dataclass(frozen=True, slots=True)
class KvGroup:
    """Layers that share one block table; every group draws its blocks from the same pool."""

    kind: CacheKind
    layers: int
    """Layers of this group on one rank; padding is not counted."""
    block_tokens: int
    """Tokens that one of its blocks holds; a state that is not cached is one block for them all."""
    window: int | None = None
    state_blocks: int = 1
    """Blocks of state that a request holds at most: its own; in a prefix cache also that which it
    goes on from, and that which the kernel gives out from within a prompt, where it can."""

    @property
    def writes_checkpoints(self) -> bool:
        """Whether states are given out from within a prompt."""
        return self.state_blocks > 2

    def blocks(self, tokens: int, in_flight_tokens: int) -> int:
        """Blocks that a request of `tokens` needs here at most.

        A window keeps what it sees, what is in flight, and one block more because it need not
        start at a block's edge; a state is as long whatever the length.
        """
        if self.kind == "state":
            return self.state_blocks
        if self.window is None:
            return cdiv(tokens, self.block_tokens)
        kept = min(self.window - 1 + in_flight_tokens, tokens)
        return cdiv(kept, self.block_tokens) + 1


@dataclass(frozen=True, slots=True)
class KvCacheGeometry:
    """One rank's KV cache as the engine cuts it into blocks; the ledger asks it for capacity."""

    groups: tuple[KvGroup, ...]
    bytes_per_block: int
    """Bytes of one block on one rank: the pages of all layers of the largest group."""
    block_size: int
    """Tokens per block as asked for; a group of a hybrid may have more (`KvGroup.block_tokens`)."""
    in_flight_tokens: int
    """Tokens scheduled and not yet settled, at most: a sliding window cannot free them."""

    @property
    def is_uniform(self) -> bool:
        """Whether a request of n tokens holds exactly ceil(n / block_size) blocks at any time."""
        return len(self.groups) == 1 and self.groups[0].kind == "full"

    @property
    def bytes_per_token(self) -> float:
        """Bytes that one more token takes on one rank, once every window is full."""
        full = (group.block_tokens for group in self.groups if group.kind == "full")
        return sum(self.bytes_per_block / tokens for tokens in full)

    def num_blocks(self, available_bytes: float) -> int:
        """Whole blocks in that much memory; none where it is negative."""
        return max(0, int(available_bytes // self.bytes_per_block))

    def blocks_per_request(self, tokens: int) -> int:
        """Blocks that a request of `tokens` holds, over all groups.

        Exact where `is_uniform`; otherwise the bound by which the engine admits: a window's blocks
        are fewer once its prefill is done.
        """
        return sum(group.blocks(tokens, self.in_flight_tokens) for group in self.groups)

    def max_concurrency(self, num_blocks: int, max_model_len: int) -> float:
        """Requests of full length that fit at once, as the engine logs it at start-up."""
        return num_blocks / self.blocks_per_request(max_model_len)

    def kv_tokens(self, num_blocks: int, max_model_len: int) -> int:
        """The KV cache size in tokens as the engine logs it: concurrency times full length.

        In hybrids it is no rate: short requests find room for fewer tokens than this.
        """
        return int(self.max_concurrency(num_blocks, max_model_len) * max_model_len)

    def longest_request(self, num_blocks: int) -> int:
        """Tokens of the longest request that `num_blocks` hold; 0 where not one token fits.

        A cache that does not grow with the request (states, windows) returns `UNBOUNDED_TOKENS`.
        """
        low, high = 0, UNBOUNDED_TOKENS
        while low < high:
            middle = (low + high + 1) // 2
            if self.blocks_per_request(middle) <= num_blocks:
                low = middle
            else:
                high = middle - 1
        return low

    def equivalent_blocks(self, num_blocks: int, request_tokens: int) -> int:
        """Blocks of `block_size` of a plain cache that hold as many requests of `request_tokens`.

        The same number where `is_uniform`. A hybrid is thereby approximated: right for requests of
        that length, too few for longer ones, too many for shorter ones (they hold a block in every
        group). Give a short request of the traffic to stay on the safe side.
        """
        if self.is_uniform:
            return num_blocks
        plain = cdiv(request_tokens, self.block_size)
        return num_blocks * plain // self.blocks_per_request(request_tokens)


UNBOUNDED_TOKENS = 1 << 40
"""What `longest_request` answers where length does not matter."""


@dataclass(frozen=True, slots=True)
class _Cache:
    """What one layer keeps on one rank: per token, or per sequence for a recurrent state."""

    kind: CacheKind
    bytes: int
    window: int | None = None
    state_blocks: int = 1

    def page_bytes(self, block_size: int) -> int:
        """Bytes of one layer's page in a block."""
        return self.bytes if self.kind == "state" else self.bytes * block_size


def kv_cache_geometry(
    model: ModelSpec,
    sharding: Sharding,
    kv_cache_dtype: Dtype,
    *,
    block_size: int = 16,
    in_flight_tokens: int = 0,
    enable_prefix_caching: bool = False,
) -> KvCacheGeometry:
    """The geometry of the fullest rank; a model that caches nothing has blocks of one byte."""
    layers: Counter[_Cache] = Counter()
    for group in model.layers:
        cache = _cache(
            group.mixer, sharding, kv_cache_dtype, enable_prefix_caching=enable_prefix_caching
        )
        if cache is not None:
            layers[cache] += group.count
    if not layers:
        return KvCacheGeometry((), 1, block_size, in_flight_tokens)
    aligned = _aligned_block_size(model, layers, block_size)
    alike = len({(cache.kind, cache.window) for cache in layers}) == 1
    groups, bytes_per_block = (_one_group if alike else _equal_groups)(layers, sharding, aligned)
    return KvCacheGeometry(groups, bytes_per_block, block_size, in_flight_tokens)


def _one_group(
    layers: Counter[_Cache], sharding: Sharding, block_size: int
) -> tuple[tuple[KvGroup, ...], int]:
    """All layers keep the same tokens: one group, whose pages may differ and add up."""
    local = {cache: sharding.stage_layers(count) for cache, count in layers.items()}
    cache = next(iter(local))
    group = KvGroup(cache.kind, sum(local.values()), block_size, cache.window, cache.state_blocks)
    return (group,), sum(c.page_bytes(block_size) * count for c, count in local.items())


def _equal_groups(
    layers: Counter[_Cache], sharding: Sharding, block_size: int
) -> tuple[tuple[KvGroup, ...], int]:
    """Layers that keep different tokens: groups of equal size that share one pool.

    The rarest kind sets the size of a group (the commonest, where it is less than half as common
    again) and the last groups of a kind are padded. Pages become equal by more tokens per block
    where they divide and by padding where not.
    """
    fewest, most = min(layers.values()), max(layers.values())
    size = most if most < 1.5 * fewest else fewest
    page = max(cache.page_bytes(block_size) for cache in layers)
    groups: list[KvGroup] = []
    for cache, count in layers.items():
        number = cdiv(count, size)
        own = cache.page_bytes(block_size)
        scale = page // own if page % own == 0 and cache.kind != "state" else 1
        for first in range(number):
            local = sharding.stage_layers(len(range(first, count, number)))
            group = KvGroup(cache.kind, local, block_size * scale, cache.window, cache.state_blocks)
            groups.append(group)
    return tuple(groups), page * max(group.layers for group in groups)


def _cache(
    mixer: Mixer | None, sharding: Sharding, kv_cache_dtype: Dtype, *, enable_prefix_caching: bool
) -> _Cache | None:
    match mixer:
        case None:
            return None
        case Attention():
            width = sharding.kv_heads(mixer.kv_heads) * (mixer.head_dim + mixer.value_dim)
            kind: CacheKind = "full" if mixer.window is None else "window"
            return _Cache(kind, math.ceil(width * kv_cache_dtype.bytes), mixer.window)
        case LatentAttention():
            return _Cache("full", _latent_bytes(mixer, kv_cache_dtype))
        case LinearAttention():
            state = cdiv(mixer.state_bytes, sharding.tensor_parallel_size)
            blocks = 2 + mixer.writes_checkpoints if enable_prefix_caching else 1
            return _Cache("state", state, state_blocks=blocks)


def _latent_bytes(mixer: LatentAttention, kv_cache_dtype: Dtype) -> int:
    """Bytes of one token's latent in one layer; sparse attention adds the indexer's fp8 key."""
    latent = math.ceil(mixer.latent_dim * kv_cache_dtype.bytes)
    if mixer.index_topk is None:
        return latent
    if kv_cache_dtype is Dtype.FP8:
        latent = SPARSE_LATENT_FP8_BYTES
    return latent + mixer.index_head_dim + mixer.index_head_dim // 128 * INDEX_SCALE_BYTES


def _aligned_block_size(model: ModelSpec, layers: Counter[_Cache], block_size: int) -> int:
    """Tokens per block such that an attention page is no smaller than a recurrent state."""
    state = max((c.bytes for c in layers if c.kind == "state"), default=0)
    token = max((c.bytes for c in layers if c.kind != "state"), default=0)
    if not state or not token:
        return block_size
    if any(isinstance(group.mixer, LatentAttention) for group in model.layers):
        block_size = max(block_size, LATENT_HYBRID_BLOCK)
    return block_size * cdiv(state, block_size * token)
