"""A deployment: one model on one kind of accelerator under one engine configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.policy import Policy

EngineName = Literal["vllm", "sglang", "trtllm", "transformers"]
Routing = Literal["round_robin", "central_queue"]
ExpertsKernel = Literal["", "marlin", "mxfp8"]
"""What computes experts with 4-bit weights: Marlin expands them to bf16, others multiply them by
activations of 8 bits. Empty is the engine's own choice."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed, as far as a rung needs to know it; fields have the names of options."""

    model: ModelSpec
    accelerator: Accelerator
    engine: EngineName
    engine_version: str
    weights_dtype: Dtype
    kv_cache_dtype: Dtype
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    replicas: int = 1
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    enable_expert_parallel: bool = False
    block_size: int = 16
    enable_prefix_caching: bool = False
    async_scheduling: bool = False
    """vLLM decides the next step while this one computes. Others have a `policy` that says so."""
    gpu_memory_utilization: float = 0.92
    experts_kernel: ExpertsKernel = ""
    num_gpu_blocks_override: int | None = None
    """KV blocks as known from a start-up log; None lets the memory ledger compute them."""
    routing: Routing = "round_robin"
    usd_per_gpu_hour: float | None = None
    policy: Policy | None = None
    """How an engine schedules whose choices vLLM's options do not name; None: as it does itself."""

    @property
    def gpus_per_replica(self) -> int:
        """Accelerators that one replica occupies."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def gpus(self) -> int:
        """Accelerators that the whole deployment occupies."""
        return self.gpus_per_replica * self.replicas
