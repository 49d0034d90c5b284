"""A deployment: one model on one kind of accelerator under one engine configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import ModelSpec
from servecast.primitives.policy import Policy, SglangPolicy, TrtllmPolicy
from servecast.primitives.routing_options import Gateway, RoutingOptions
from servecast.primitives.speculation import Speculation

EngineName = Literal["vllm", "sglang", "trtllm", "transformers", "reference"]
"""The last one is a scheduler of the literature on vLLM's memory and host time."""
SchedulingPolicy = Literal["fcfs", "priority"]
Routing = Literal[
    "round_robin",
    "random",
    "central_queue",
    "least_outstanding",
    "power_of_two",
    "least_kv",
    "sticky_sessions",
    "prefix_affinity",
    "kv_overlap",
]
KvLoads = Literal["always", "if_faster"]
"""What is done with KV blocks found in host memory: vLLM always loads them."""
ExpertsKernel = Literal["", "marlin", "mxfp8"]
"""What computes experts with 4-bit weights: Marlin expands them to bf16, others multiply them by
activations of 8 bits. Empty is the engine's own choice."""
All2AllBackend = Literal["allgather_reducescatter", "deepep_low_latency", "deepep_high_throughput"]
"""What brings the tokens of data-parallel ranks to their experts and back."""


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
    all2all_backend: All2AllBackend = "allgather_reducescatter"
    expert_imbalance: float = 1.0
    """Load of the fullest expert-parallel rank, over what its costs were measured with (routing by
    a power law of 1.2)."""
    block_size: int = 16
    enable_prefix_caching: bool = False
    async_scheduling: bool = False
    """vLLM decides the next step while this one computes. Others have a `policy` that says so."""
    gpu_memory_utilization: float = 0.92
    experts_kernel: ExpertsKernel = ""
    num_gpu_blocks_override: int | None = None
    """KV blocks as known from a start-up log; None lets the memory ledger compute them."""
    routing: Routing = "round_robin"
    routing_options: RoutingOptions = field(default_factory=RoutingOptions)
    gateway: Gateway | None = None
    """Who is let in to the replicas; None: everybody."""
    usd_per_gpu_hour: float | None = None
    scheduling_policy: SchedulingPolicy = "fcfs"
    """vLLM's: by priority, the least urgent of those who run gives way to who needs blocks."""
    long_prefill_token_threshold: int = 0
    """The most tokens of a request in one step of vLLM while others are there; 0: no such limit."""
    long_prefill_token_threshold_adaptive: bool = False
    """Whether a request's fair share of the step may exceed that threshold."""
    kv_offloading_size: float | None = None
    """GiB of host memory in which vLLM keeps KV blocks of a replica, over all its ranks."""
    host_gb_per_s: float | None = None
    """What one GPU reaches to that memory one way, as measured; None: by its data sheet."""
    kv_loads: KvLoads = "always"
    policy: Policy | None = None
    """How an engine schedules whose choices vLLM's options do not name; None: as it does itself."""
    speculation: Speculation | None = None
    """Drafts that the engine verifies; None: a token a step."""

    @property
    def drafting(self) -> Speculation | None:
        """The speculation, where any token is drafted."""
        return self.speculation if self.speculation and self.speculation.acceptance else None

    @property
    def num_drafts(self) -> int:
        """Tokens drafted for each request in a step."""
        return self.drafting.num_speculative_tokens if self.drafting else 0

    @property
    def schedules_ahead(self) -> bool:
        """Whether the engine decides the next step while this one computes."""
        own = self.policy
        if isinstance(own, SglangPolicy):
            return not own.disable_overlap_schedule
        return self.async_scheduling or (
            isinstance(own, TrtllmPolicy) and not own.disable_overlap_scheduler
        )

    @property
    def gpus_per_replica(self) -> int:
        """Accelerators that one replica occupies."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def gpus(self) -> int:
        """Accelerators that the whole deployment occupies."""
        return self.gpus_per_replica * self.replicas
