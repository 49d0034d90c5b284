"""The section `deployment` of a scenario: what all engines have, and vLLM's own options."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from servecast.choices import Open
from servecast.engine_limits import EngineLimits, Target
from servecast.errors import UnsupportedError
from servecast.faults import fault, shown
from servecast.fields import Count, Flag, Fraction, Section, Size, Weights, first
from servecast.primitives.deployment import All2AllBackend, KvLoads, Routing, SchedulingPolicy
from servecast.primitives.dtype import Dtype
from servecast.routing import GatewaySection, RoutingSection
from servecast.search.engine_defaults import EngineDefaults, defaults, engine_release
from servecast.speculation import SpeculationOptions

KV_CACHE: Mapping[str, Dtype] = MappingProxyType(
    {"auto": Dtype.BF16, "fp8": Dtype.FP8, "fp8_e4m3": Dtype.FP8}
)


def _replicas_form(value: object) -> str:
    return "<auto>" if value == "auto" else "<values>"


def _auto_or_numbers(value: object) -> object:
    if isinstance(value, str) and value != "auto":
        raise fault(f"{shown(value)} is neither `auto` nor a number")
    return value


Replicas = Annotated[
    Annotated[Literal["auto"], Tag("<auto>")] | Annotated[Open[Count], Tag("<values>")],
    Discriminator(_replicas_form),
    BeforeValidator(_auto_or_numbers),
]


class Options(Section):
    """How a model is deployed, whatever the engine, and how replicas are fed."""

    replicas: Replicas = (1,)
    """`auto`: as many as fit, or the fewest that meet the SLOs where cost is minimised."""
    quantization: Open[Weights] | None = None
    """The weights' format; absent: the checkpoint's own."""
    routing: Open[Routing] = ("round_robin",)
    routing_options: RoutingSection = RoutingSection()
    gateway: GatewaySection | None = None
    """Absent: everybody is let in to the replicas."""

    @property
    def drafts(self) -> SpeculationOptions | None:
        """What is drafted, by engines that may."""
        return None

    @abstractmethod
    def limits(self, target: Target) -> EngineLimits:
        """The limits of a fixed form; what is not stated, the engine sets.

        InputError where the engine would refuse them, UnsupportedError where its defaults are not
        known, InfeasibleError where the model leaves no room for a KV cache.
        """


class VllmOptions(Options):
    """vLLM's options; absent: its defaults."""

    tensor_parallel_size: Open[Count] = (1,)
    pipeline_parallel_size: Open[Count] = (1,)
    """Above 1: simulated and emulated, not searched."""
    data_parallel_size: Open[Count] = (1,)
    """Ranks of a mixture of experts, each with tensor_parallel_size GPUs. Above 1: simulated."""
    enable_expert_parallel: Open[Flag] = (False,)
    all2all_backend: Open[All2AllBackend] = ("allgather_reducescatter",)
    expert_imbalance: Open[Size] = (1.0,)
    """Load of the fullest rank's experts, over what its costs were measured with."""
    kv_cache_dtype: Open[Literal["auto", "fp8"]] = ("auto",)
    max_model_len: Open[Count] | None = None
    """Absent: the longest that the model allows."""
    max_num_seqs: Open[Count] | None = None
    max_num_batched_tokens: Open[Count] | None = None
    block_size: Open[Count] | None = None
    gpu_memory_utilization: Open[Fraction] | None = None
    num_gpu_blocks_override: Open[Count] | None = None
    enable_chunked_prefill: Open[Literal[True]] = (True,)
    enable_prefix_caching: Open[Flag] = (False,)
    async_scheduling: Open[Flag] = (False,)
    scheduling_policy: Open[SchedulingPolicy] = ("fcfs",)
    """By `priority` as a trace's column of that name has it: the smallest goes first."""
    long_prefill_token_threshold: Open[Count] | None = None
    """Absent: a prompt takes what it can of a step."""
    long_prefill_token_threshold_adaptive: Open[Flag] = (False,)
    kv_offloading_size: Open[Size] | None = None
    """GiB of host memory for KV blocks of a replica, over all its GPUs. Absent: none."""
    host_gb_per_s: Open[Size] | None = None
    """What one GPU reaches to that memory one way. Absent: a share of its data sheet's."""
    kv_loads: Open[KvLoads] = ("always",)
    """`if_faster` than computing again: simulated only, vLLM has no such option."""
    speculation: SpeculationOptions | None = None
    """Absent: a token a step."""
    enable_lora: Open[Literal[False]] = (False,)
    enforce_eager: Open[Literal[False]] = (False,)

    @property
    def drafts(self) -> SpeculationOptions | None:
        """What is drafted, if anything."""
        return self.speculation

    def limits(self, target: Target) -> EngineLimits:
        """The limits as vLLM resolves them at start-up."""
        engine = self._defaults(target)
        max_model_len = first(self.max_model_len) or target.model.max_model_len
        limits = engine.limits(
            max_model_len=max_model_len,
            max_num_seqs=first(self.max_num_seqs),
            max_num_batched_tokens=first(self.max_num_batched_tokens),
        )
        utilization = first(self.gpu_memory_utilization) or engine.gpu_memory_utilization
        return EngineLimits(
            kv_cache_dtype=KV_CACHE[self.kv_cache_dtype[0]],
            max_model_len=max_model_len,
            max_num_seqs=limits.max_num_seqs,
            max_num_batched_tokens=limits.max_num_batched_tokens,
            block_size=first(self.block_size) or engine.block_size,
            enable_prefix_caching=self.enable_prefix_caching[0],
            gpu_memory_utilization=utilization,
            num_gpu_blocks_override=first(self.num_gpu_blocks_override),
            pipeline_parallel_size=self.pipeline_parallel_size[0],
            data_parallel_size=self.data_parallel_size[0],
            enable_expert_parallel=self.enable_expert_parallel[0],
            all2all_backend=self.all2all_backend[0],
            expert_imbalance=self.expert_imbalance[0],
            async_scheduling=self.async_scheduling[0],
            scheduling_policy=self.scheduling_policy[0],
            long_prefill_token_threshold=first(self.long_prefill_token_threshold) or 0,
            long_prefill_token_threshold_adaptive=self.long_prefill_token_threshold_adaptive[0],
            kv_offloading_size=first(self.kv_offloading_size),
            host_gb_per_s=first(self.host_gb_per_s),
            kv_loads=self.kv_loads[0],
        )

    def _defaults(self, target: Target) -> EngineDefaults:
        """vLLM's defaults; where they are unknown on the device, the limits must be stated."""
        version = target.engine_version
        try:
            return defaults("vllm", version, target.accelerator)
        except UnsupportedError:
            seqs, tokens = first(self.max_num_seqs), first(self.max_num_batched_tokens)
            if seqs is None or tokens is None:
                raise
            return EngineDefaults(engine_release("vllm", version), seqs, tokens, "the scenario")
