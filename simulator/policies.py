"""Which scheduler stands for an engine, and the limits that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import (
    Policy,
    ReferenceName,
    ReferencePolicy,
    SglangPolicy,
    TransformersPolicy,
    TrtllmPolicy,
)
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.static_scheduler import StaticScheduler
from servecast.simulator.transformers_scheduler import TransformersScheduler
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler
from servecast.traces.workload import Workload

REFERENCES: Mapping[ReferenceName, Callable[[SchedulerLimits], Scheduler]] = MappingProxyType(
    {"static": StaticScheduler, "orca": OrcaScheduler, "sarathi": SarathiScheduler}
)
"""Schedulers of the literature, by the name of the policy."""


def policy_of(deployment: Deployment) -> Callable[[SchedulerLimits], Scheduler]:
    """What makes the engine's scheduler, by its own choices or its defaults."""
    if deployment.engine == "vllm":
        return VllmScheduler
    if deployment.engine == "transformers":
        own = deployment.policy
        own = own if isinstance(own, TransformersPolicy) else TransformersPolicy()
        return partial(
            TransformersScheduler,
            scheduler_type=own.scheduler_type,
            safety_margin=own.safety_margin,
        )
    if deployment.engine == "sglang":
        return _sglang(deployment.policy)
    if deployment.engine == "trtllm":
        return _trtllm(deployment.policy)
    reference = deployment.policy
    reference = reference if isinstance(reference, ReferencePolicy) else ReferencePolicy()
    return REFERENCES[reference.policy]


def _sglang(policy: Policy | None) -> Callable[[SchedulerLimits], Scheduler]:
    own = policy if isinstance(policy, SglangPolicy) else SglangPolicy()
    overlaps = not own.disable_overlap_schedule
    return partial(
        SglangOverlapScheduler if overlaps else SglangEngineScheduler,
        schedule_policy=own.schedule_policy,
        conservativeness=own.schedule_conservativeness,
        mixed_chunk=own.enable_mixed_chunk,
    )


def _trtllm(policy: Policy | None) -> Callable[[SchedulerLimits], Scheduler]:
    own = policy if isinstance(policy, TrtllmPolicy) else TrtllmPolicy()
    chunked = own.enable_chunked_prefill
    if own.capacity_scheduler_policy == "MAX_UTILIZATION":
        return partial(TrtllmPausingScheduler, chunked_context=chunked)
    return partial(TrtllmScheduler, chunked_context=chunked)


def transformers_limits(deployment: Deployment, workload: Workload) -> SchedulerLimits:
    """The limits of transformers, whose cache has the deployment's own number of blocks.

    InputError where a request is longer than the cache: transformers would end with an error when
    it comes to that one.
    """
    require_room(deployment, workload)
    return own_limits(deployment)


def own_limits(deployment: Deployment) -> SchedulerLimits:
    """The limits of an engine whose number of blocks the deployment states, none kept apart."""
    blocks = _blocks(deployment)
    return SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=min(deployment.max_model_len, blocks * deployment.block_size),
        num_blocks=blocks,
        block_size=deployment.block_size,
        enable_prefix_caching=deployment.enable_prefix_caching,
    )


def require_room(deployment: Deployment, workload: Workload) -> None:
    """InputError where the whole cache of transformers does not hold the longest request."""
    tokens = _blocks(deployment) * deployment.block_size
    length = workload.prompt_tokens + workload.output_tokens
    admitted = length[workload.prompt_tokens < deployment.max_model_len]
    longest = min(int(admitted.max(initial=0)), deployment.max_model_len)
    if longest > tokens:
        raise InputError(
            f"a request has {longest:,} tokens, and the KV cache of transformers holds {tokens:,}",
            hint="raise num_blocks or page_size: transformers fails at a request with no room",
        )


def _blocks(deployment: Deployment) -> int:
    blocks = deployment.num_gpu_blocks_override
    if blocks is None:
        raise InputError(
            f"the number of KV blocks is not given, which {deployment.engine} measures on its GPU",
            hint="state num_gpu_blocks_override of the deployment",
        )
    return blocks
