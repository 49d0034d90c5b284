"""The options of transformers' continuous batching that decide what a step computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from servecast.errors import InputError, unknown
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import TransformersPolicy, TransformersSchedulerType


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """Continuous batching as configured; names are transformers' own."""

    num_blocks: int
    max_batch_tokens: int
    max_requests_per_batch: int
    page_size: int = 256
    scheduler_type: TransformersSchedulerType = "fifo"
    safety_margin: float | None = None
    """Share of free blocks below which no prompt is begun; None is the scheduler's own default."""
    allow_block_sharing: bool = True
    """Whether a prompt reuses the blocks of an equal beginning."""

    def __post_init__(self) -> None:
        names = get_args(TransformersSchedulerType)
        if self.scheduler_type not in names:
            raise unknown("scheduler", self.scheduler_type, names, command="both are transformers'")
        for name in ("num_blocks", "max_batch_tokens", "max_requests_per_batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")
        if self.page_size < 4:
            raise InputError(f"page_size {self.page_size} must be at least 4")
        if self.safety_margin is not None and not 0.0 <= self.safety_margin <= 1.0:
            raise InputError(f"safety_margin {self.safety_margin} is not between 0 and 1")

    @property
    def margin(self) -> float:
        """The safety margin in force."""
        if self.safety_margin is not None:
            return self.safety_margin
        return 0.15 if self.scheduler_type == "fifo" else 0.0

    @classmethod
    def of(cls, deployment: Deployment, num_blocks: int) -> TransformersOptions:
        """A deployment's limits under transformers' names, with blocks of its `block_size`."""
        policy = deployment.policy
        policy = policy if isinstance(policy, TransformersPolicy) else TransformersPolicy()
        return cls(
            num_blocks=num_blocks,
            max_batch_tokens=deployment.max_num_batched_tokens,
            max_requests_per_batch=min(deployment.max_num_seqs, deployment.max_num_batched_tokens),
            page_size=deployment.block_size,
            scheduler_type=policy.scheduler_type,
            safety_margin=policy.safety_margin,
            allow_block_sharing=deployment.enable_prefix_caching,
        )
