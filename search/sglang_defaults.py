"""What SGLang 0.5.23 does when nothing is said, as facts of its source."""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import KvCacheGeometry, kv_cache_geometry
from servecast.primitives.model import LatentAttention, ModelSpec
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.sharding import Sharding
from servecast.primitives.speculation import DraftModel
from servecast.primitives.weight_memory import weight_bytes

PAGE_SIZE = 1
"""Tokens, unless the attention backend asks for more."""

DRAFTING_RUNNING_REQUESTS = 48
"""Requests that run at once where it drafts, unless they are stated (`speculative_hook.py`)."""

_MIB = 2**20
_GIB_IN_MIB = 1024
_CLASSES = ((20, 2048, 8, 8), (35, 4096, 48, 160), (60, 4096, 32, 160), (160, 8192, 256, 512))
"""Below so many GiB: prompt tokens a step, and sequences in the largest decode graph with fewer
than four ranks and with more (`arg_groups/memory_hook.py`)."""
_LARGEST = (16384, 512, 512)


def chunked_prefill_size(accelerator: Accelerator) -> int:
    """Tokens that a step of prompts computes at most."""
    return _class_of(accelerator)[0]


def mem_fraction_static(
    accelerator: Accelerator,
    *,
    chunk_tokens: int,
    max_running_requests: int | None,
    tensor_parallel_size: int,
    is_latent: bool,
) -> float:
    """The share of a GPU's memory for weights and KV pool: what activations and graphs leave.

    `memory_hook.py`, `handle_gpu_memory_settings` and `reserve_for_graph_mb`, in MiB: 512, 1.5 a
    token of the largest prompt step, 128 a rank, 2 a sequence of the largest decode graph, and 8
    for each graph of prompts (1,536 with latent attention); at least 10 GiB on large GPUs.
    """
    _, few_ranks, many_ranks = _class_of(accelerator)
    decode_graph = few_ranks if tensor_parallel_size < 4 else many_ranks
    if max_running_requests is not None:
        decode_graph = min(decode_graph, max_running_requests)
    prompt_graphs = 1536.0 if is_latent else 8.0 * _prompt_graphs(chunk_tokens)
    reserved = 512 + 1.5 * max(chunk_tokens, 2048) + 128 * tensor_parallel_size
    reserved += 2 * decode_graph + prompt_graphs
    total = accelerator.memory_bytes / _MIB
    if total > 60 * _GIB_IN_MIB:
        reserved = max(reserved, 10 * _GIB_IN_MIB)
    return round((total - reserved) / total, 3)


def max_total_tokens(
    geometry: KvCacheGeometry, accelerator: Accelerator, weights_bytes: int, share: float
) -> int:
    """Tokens in the KV pool: what the weights leave of that `share`; 0 where nothing is left.

    CUDA's own context, some hundreds of MiB, is not counted.
    """
    available = share * accelerator.memory_bytes - weights_bytes
    return geometry.num_blocks(available) * geometry.block_size


def model_share(
    model: ModelSpec,
    accelerator: Accelerator,
    tensor_parallel_size: int,
    *,
    chunk_tokens: int,
    max_running_requests: int | None = None,
) -> float:
    """`mem_fraction_static` for a model."""
    return mem_fraction_static(
        accelerator,
        chunk_tokens=chunk_tokens,
        max_running_requests=max_running_requests,
        tensor_parallel_size=tensor_parallel_size,
        is_latent=any(isinstance(group.mixer, LatentAttention) for group in model.layers),
    )


def model_pool(
    model: ModelSpec,
    accelerator: Accelerator,
    tensor_parallel_size: int,
    formats: tuple[Dtype, Dtype],
    *,
    page_size: int,
    share: float,
    draft: DraftModel | None = None,
) -> int:
    """`max_total_tokens` for a model, `formats` being those of its weights and KV cache.

    A layer of what drafts takes as much of the pool as one of the model on average, whatever it is
    (`pool_configurator.py`).
    """
    sharding, (weights, kv_cache) = Sharding(tensor_parallel_size), formats
    geometry = kv_cache_geometry(model, sharding, kv_cache, block_size=page_size)
    weights_bytes = weight_bytes(model, sharding, weights)
    if draft is None:
        return max_total_tokens(geometry, accelerator, weights_bytes, share)
    weights_bytes += weight_bytes(
        draft.model, sharding, draft.weights_dtype, vocabulary=not draft.shares_vocabulary
    )
    available = share * accelerator.memory_bytes - weights_bytes
    layers = _layers(model)
    available *= layers / (layers + _layers(draft.model))
    return geometry.num_blocks(available) * geometry.block_size


def _layers(model: ModelSpec) -> int:
    """Layers with a mixer: those with a KV cache, or a state."""
    return sum(group.count for group in model.layers if group.mixer is not None)


def left_alone(like: Deployment, tensor_parallel_size: int) -> Deployment:
    """One replica of SGLang that is told the model, its formats and its length alone."""
    model, device = like.model, like.accelerator
    chunk = chunked_prefill_size(device)
    share = model_share(model, device, tensor_parallel_size, chunk_tokens=chunk)
    formats = like.weights_dtype, like.kv_cache_dtype
    tokens = model_pool(
        model, device, tensor_parallel_size, formats, page_size=PAGE_SIZE, share=share
    )
    return replace(
        like,
        replicas=1,
        tensor_parallel_size=tensor_parallel_size,
        max_num_seqs=max_running_requests(tokens, like.max_model_len, None),
        max_num_batched_tokens=chunk,
        block_size=PAGE_SIZE,
        enable_prefix_caching=True,
        gpu_memory_utilization=share,
        num_gpu_blocks_override=tokens,
        policy=SglangPolicy(),
        speculation=None,
    )


def max_running_requests(pool_tokens: int, context_length: int, stated: int | None) -> int:
    """Requests that run at once (`kv_cache_configurator.py`, `resolve_max_num_reqs`)."""
    wanted = max(min(pool_tokens * 512 // context_length, 4096), 2048)
    return min(wanted if stated is None else stated, pool_tokens // 2)


def _class_of(accelerator: Accelerator) -> tuple[int, int, int]:
    for below_gib, *found in _CLASSES:
        if accelerator.memory_bytes < below_gib * _GIB_IN_MIB * _MIB:
            chunk, few_ranks, many_ranks = found
            return chunk, few_ranks, many_ranks
    return _LARGEST


def _prompt_graphs(largest: int) -> int:
    """Graphs captured for steps of prompts up to `largest` tokens (`cuda_graph_hook.py`)."""
    sizes = (
        *range(4, 33, 4),
        *range(48, 257, 16),
        *range(288, 513, 32),
        *range(576, 1025, 64),
        *range(1280, 4097, 256),
        *range(4608, largest + 1, 512),
    )
    return sum(size <= largest for size in sizes)
