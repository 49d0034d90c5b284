"""Which scheduler stands for an engine, and the limits that it is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import TransformersPolicy
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.transformers_scheduler import TransformersScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler
from servecast.traces.workload import Workload


def policy_of(deployment: Deployment) -> Callable[[SchedulerLimits], Scheduler]:
    """What makes the engine's scheduler. UnsupportedError where it is not modelled as it is."""
    if deployment.engine == "vllm":
        return VllmScheduler
    if deployment.engine == "transformers":
        own = deployment.policy
        own = own if isinstance(own, TransformersPolicy) else TransformersPolicy()
        return partial(
            TransformersScheduler,
            scheduler_type=own.scheduler_type,
            safety_margin=own.safety_margin,
            allow_block_sharing=deployment.enable_prefix_caching,
        )
    raise UnsupportedError(
        f"engine `{deployment.engine}` is not simulated yet",
        hint="run its own control loop by `servecast emulate`, or set engine.name to `vllm`",
    )


def transformers_limits(deployment: Deployment, workload: Workload) -> SchedulerLimits:
    """The limits of transformers, whose cache has the deployment's own number of blocks.

    InputError where a request is longer than the cache: transformers would end with an error when
    it comes to that one. UnsupportedError where prompts begin alike and could share blocks.
    """
    require_room(deployment, workload)
    if workload.prefixes is not None and deployment.enable_prefix_caching:
        raise UnsupportedError(
            "block sharing of transformers is not simulated yet, and prompts begin alike",
            hint="run it by `servecast emulate`, or set allow_block_sharing to false",
        )
    blocks = _blocks(deployment)
    return SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=min(deployment.max_model_len, blocks * deployment.block_size),
        num_blocks=blocks,
        block_size=deployment.block_size,
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
            "the number of KV blocks is not given, which transformers measures on its GPU",
            hint="state num_blocks",
        )
    return blocks
