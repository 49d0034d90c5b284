"""How a stepped engine decides, beyond the limits that bound each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from servecast.primitives.deployment import Deployment, SchedulingPolicy
from servecast.primitives.speculation import Speculation


@dataclass(frozen=True, slots=True)
class SteppedOptions:
    """vLLM's options under its own names, as its defaults have them."""

    scheduling_policy: SchedulingPolicy = "fcfs"
    long_prefill_token_threshold: int = 0
    """The most tokens of a request in one step while others are there; 0 is no such limit."""
    long_prefill_token_threshold_adaptive: bool = False
    """Whether a request's fair share of the budget may exceed that threshold."""
    async_scheduling: bool = False
    pipeline_parallel_size: int = 1
    speculation: Speculation | None = None

    @classmethod
    def of(cls, deployment: Deployment) -> SteppedOptions:
        """Those of a deployment."""
        return cls(
            scheduling_policy=deployment.scheduling_policy,
            long_prefill_token_threshold=deployment.long_prefill_token_threshold,
            long_prefill_token_threshold_adaptive=deployment.long_prefill_token_threshold_adaptive,
            async_scheduling=deployment.async_scheduling,
            pipeline_parallel_size=deployment.pipeline_parallel_size,
            speculation=deployment.drafting,
        )

    @property
    def max_concurrent_batches(self) -> int:
        """Batches under way at once, at most: one for each stage, and one ahead of them."""
        return self.pipeline_parallel_size + self.async_scheduling

    @property
    def num_spec_tokens(self) -> int:
        """Drafts for each decoding request in a step, at most."""
        return self.speculation.num_speculative_tokens if self.speculation else 0

    @property
    def padding(self) -> int:
        """Tokens added to a lone one, to make it as wide as a step that verifies drafts."""
        drafts = self.speculation
        return drafts.num_speculative_tokens if drafts and drafts.pads_single_tokens else 0

    def drafts_by_batch(self, largest: int) -> Sequence[int]:
        """Drafts for each request after a step of 0, 1, … up to `largest` requests."""
        drafts = self.speculation
        return drafts.drafts_by_batch(largest) if drafts else [0] * (largest + 1)

    @property
    def uses_hidden_states(self) -> bool:
        """Whether the drafts are made from the target's own hidden states."""
        return self.speculation is not None and self.speculation.uses_hidden_states

    @property
    def num_lookahead_tokens(self) -> int:
        """KV slots kept for drafts beyond a step's own tokens, for each request."""
        return self.speculation.num_lookahead_tokens if self.speculation else 0

    @property
    def draft_slots(self) -> int:
        """Tokens of the budget left to the drafts of each request in a step."""
        return self.speculation.draft_slots if self.speculation else 0
