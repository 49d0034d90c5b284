"""What a step costs in which drafts are verified, and new ones made for the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.cost import CostSource
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import CompiledStepCost, StepCost


class DraftedCost:
    """A `StepCost` whose steps end with the draft model's: it computes what the target computed,
    and then one token more of each sequence for every further draft."""

    def __init__(self, cost: StepCost, draft: StepCost, drafts: Sequence[int]) -> None:
        """`cost` is the target's, `draft` the draft model's, of which the host's time is no more
        than the target's own; `drafts` for each sequence, by how many sequences are in the step.

        Where that is none the draft model computes the batch all the same: its cache keeps up.
        """
        self._cost = cost
        self._draft = draft
        self._further = [max(0, count - 1) for count in drafts]

    @property
    def needs_spread(self) -> bool:
        """As the target has it."""
        return self._cost.needs_spread

    def spread(self, contexts: Sequence[int]) -> int:
        """As the target has it."""
        return self._cost.spread(contexts)

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """As the target has it: nothing is drafted in a run."""
        return self._cost.decode_run(sequences, spread)

    def step(self, batch: Batch) -> StepTime:
        """The target's time, with the drafts' on the device."""
        device_ns, host_ns = self._cost.step(batch)
        device_ns += self._draft.step(batch).device_ns
        further = self._further[batch.sequences]
        if further:
            device_ns += further * self._drafting_ns(batch)
        return StepTime(device_ns, host_ns)

    def _drafting_ns(self, batch: Batch) -> int:
        """What one further draft of each sequence takes."""
        tokens = sum(group.query_tokens * group.sequences for group in batch.groups)
        return self._one_each_ns(batch, tokens)

    def _one_each_ns(self, batch: Batch, computed: int) -> int:
        """What a token more of each sequence takes, so many tokens of the batch being computed."""
        context_sum = computed + sum(group.context_sum for group in batch.groups)
        one_each = Batch((Group(1, batch.sequences, context_sum, 0, True),))
        return self._draft.step(one_each).device_ns


class DraftsFirstCost(DraftedCost):
    """The same in SGLang's order: what a step verifies is drafted when it begins. So a step of
    prompts drafts nothing, and no more than keeps the draft model's cache up."""

    def _drafting_ns(self, batch: Batch) -> int:
        """What one further draft of each sequence takes, before the target computes any."""
        if not all(group.is_decode for group in batch.groups):
            return 0
        return self._one_each_ns(batch, 0)


def with_drafts(deployment: Deployment, cost: StepCost, source: CostSource) -> StepCost:
    """`cost`, the target's, with what drafting takes beside it."""
    drafting = deployment.drafting
    if drafting is None or drafting.draft is None:
        return cost
    alone = replace(
        deployment,
        model=drafting.draft.model,
        weights_dtype=drafting.draft.weights_dtype,
        speculation=None,
    )
    drafts = drafting.drafts_by_batch(deployment.max_num_seqs)
    kind = DraftsFirstCost if deployment.engine == "sglang" else DraftedCost
    return kind(cost, CompiledStepCost(alone, source), drafts)
