"""What SGLang allows a replica and a request (0.5.23)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy
from servecast.simulator.scheduler import SchedulerLimits
from servecast.traces.workload import Workload

SPARE_TOKENS = 2
"""Of the model length, that no request reaches."""
LEFT_TOKENS = 7
"""Of the model length, that a prompt has to leave."""


@dataclass(frozen=True, slots=True)
class SglangLimits(SchedulerLimits):
    """The limits of one replica, which hold more than vLLM's.

    More requests may run than a step computes prompt tokens, and the pool may hold fewer tokens
    than the model's length: then no request is longer than the pool.
    """

    def __post_init__(self) -> None:
        if self.max_num_batched_tokens % self.block_size:
            raise InputError(
                f"chunked prefill size {self.max_num_batched_tokens} is no multiple of the page "
                f"size {self.block_size}: SGLang refuses to start",
                hint=f"set it to a multiple of {self.block_size}",
            )


def sglang_limits(deployment: Deployment) -> SglangLimits:
    """The limits of a deployment of SGLang, which states the pages of its pool.

    InputError where it does not, or where SGLang would not start or come to a halt with them.
    """
    pages, policy = deployment.num_gpu_blocks_override, deployment.policy
    if pages is None:
        raise InputError(
            "the size of the KV pool is not given, which SGLang measures on its GPU",
            hint="state num_gpu_blocks_override of the deployment",
        )
    chunk_tokens, running = deployment.max_num_batched_tokens, deployment.max_num_seqs
    if isinstance(policy, SglangPolicy) and policy.enable_mixed_chunk and chunk_tokens < running:
        raise InputError(
            f"{running} requests may run, and a mixed step computes {chunk_tokens} tokens: where "
            "as many decode, a prompt that was begun gets no further",
            hint=f"set chunked_prefill_size to {running} or more, or max_running_requests lower",
        )
    return SglangLimits(
        max_num_seqs=running,
        max_num_batched_tokens=chunk_tokens,
        max_model_len=min(deployment.max_model_len, pages * deployment.block_size),
        num_blocks=pages,
        block_size=deployment.block_size,
        enable_prefix_caching=deployment.enable_prefix_caching,
    )


def require_room(limits: SchedulerLimits, prompt_tokens: int) -> None:
    """InputError for a prompt that the whole pool cannot hold with room to spare."""
    if prompt_tokens >= (limits.num_blocks - 1) * limits.block_size:
        raise InputError(
            f"a prompt of {prompt_tokens} tokens leaves no room in a KV pool of "
            f"{limits.num_blocks} pages of {limits.block_size}: SGLang would never admit it",
            hint=f"give a pool of {prompt_tokens + 1} tokens and a page, or more",
        )


def alone(request: int) -> InputError:
    """What becomes of a run in which a request does not even fit after all others have left."""
    return InputError(
        f"request {request} alone does not fit the KV pool: SGLang gives it up",
        hint="give the pool more pages",
    )


def most_output(limits: SchedulerLimits, prompt_tokens: int) -> int:
    """Tokens that a request with such a prompt may say; 0 or less where there is no room."""
    page = limits.block_size
    pool = (limits.num_blocks - -(-prompt_tokens // page) - 1) * page - 1
    return min(limits.max_model_len - SPARE_TOKENS - prompt_tokens, pool)


def output_room(limits: SchedulerLimits, workload: Workload) -> NDArray[np.int64]:
    """The same for each request of a workload, 0 where SGLang refuses the prompt."""
    longest = limits.max_model_len - LEFT_TOKENS
    rooms = [
        max(1, most_output(limits, prompt)) if prompt <= longest else 0
        for prompt in workload.prompt_tokens.tolist()
    ]
    return np.array(rooms, dtype=np.int64)
