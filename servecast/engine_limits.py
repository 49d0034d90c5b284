"""An engine's options under one name for all engines: those of `Deployment`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import All2AllBackend, KvLoads, SchedulingPolicy
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.policy import Policy


@dataclass(frozen=True, slots=True)
class Target:
    """What an engine serves, in which format, and on what: its defaults depend on them."""

    engine_version: str
    model: ModelSpec
    weights_dtype: Dtype
    accelerator: Accelerator


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What bounds a replica's batches and cache, the engine's defaults filled in."""

    kv_cache_dtype: Dtype
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    enable_prefix_caching: bool
    gpu_memory_utilization: float
    num_gpu_blocks_override: int | None
    """None lets the memory ledger compute them."""
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    all2all_backend: All2AllBackend = "allgather_reducescatter"
    expert_imbalance: float = 1.0
    async_scheduling: bool = False
    scheduling_policy: SchedulingPolicy = "fcfs"
    """vLLM's own; other engines have theirs in `policy`."""
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    kv_offloading_size: float | None = None
    host_gb_per_s: float | None = None
    kv_loads: KvLoads = "always"
    policy: Policy | None = None


OWN_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "sglang": {
            "max_model_len": "context_length",
            "max_num_seqs": "max_running_requests",
            "max_num_batched_tokens": "chunked_prefill_size",
            "block_size": "page_size",
            "gpu_memory_utilization": "mem_fraction_static",
            "num_gpu_blocks_override": "max_total_tokens",
            "enable_prefix_caching": "disable_radix_cache",
            "async_scheduling": "disable_overlap_schedule",
            "scheduling_policy": "schedule_policy",
        },
        "transformers": {
            "max_num_seqs": "max_requests_per_batch",
            "max_num_batched_tokens": "max_batch_tokens",
            "block_size": "page_size",
            "gpu_memory_utilization": "max_memory_percent",
            "num_gpu_blocks_override": "num_blocks",
            "enable_prefix_caching": "allow_block_sharing",
            "scheduling_policy": "scheduler_type",
        },
        "trtllm": {
            "max_model_len": "max_seq_len",
            "max_num_seqs": "max_batch_size",
            "max_num_batched_tokens": "max_num_tokens",
            "block_size": "tokens_per_block",
            "gpu_memory_utilization": "kv_cache_free_gpu_memory_fraction",
            "num_gpu_blocks_override": "max_tokens",
            "enable_prefix_caching": "enable_block_reuse",
            "async_scheduling": "disable_overlap_scheduler",
            "scheduling_policy": "capacity_scheduler_policy",
        },
        "reference": {"scheduling_policy": "policy"},
    }
)
"""What other engines call vLLM's options, by the engine's name."""


def own_name(engine: str, option: str) -> str:
    """The engine's name for what vLLM calls `option`."""
    return OWN_NAMES.get(engine, {}).get(option, option)
