"""What one engine step computes, as groups of equal kind."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """`sequences` sequences that each compute `query_tokens` new tokens over a cached context.

    A decode group has one query token a sequence, and one more for each draft that it verifies; a
    prefill chunk is a group of its own, of one sequence whose `context_sum` is the number of tokens
    computed before the chunk.
    """

    query_tokens: int
    sequences: int
    context_sum: int
    """Cached tokens before the step, summed over the sequences."""
    spread: int = 0
    """Bucket of how unequal the contexts are (`StepCost.spread`); 0 where it does not matter."""
    is_decode: bool = False


class Batch(NamedTuple):
    """One step: a decode group (one for each number of drafts), then the prefill chunks in
    scheduling order."""

    groups: tuple[Group, ...]

    @property
    def tokens(self) -> int:
        """Query tokens in all."""
        return sum(group.query_tokens * group.sequences for group in self.groups)

    @property
    def sequences(self) -> int:
        """Sequences in all."""
        return sum(group.sequences for group in self.groups)

    @property
    def rows(self) -> int:
        """Tokens that the head computes: the last one of each sequence, and all that verify."""
        return sum(
            group.sequences * (group.query_tokens if group.is_decode else 1)
            for group in self.groups
        )


class StepTime(NamedTuple):
    """Integer nanoseconds of one step on the device and of the engine's host code around it."""

    device_ns: int
    host_ns: int
