"""What a step of a running server computes, in the whole numbers that its cost goes by."""

from __future__ import annotations

from typing import NamedTuple, Self

from servecast.primitives.batch import Batch
from servecast.primitives.cost_table import DIMENSIONS

OPERATION = "engine_step"
"""The cost store's name for whole steps of an engine."""


class StepWork(NamedTuple):
    """A step's decodes and prompt chunks; the fields are the dimensions of `engine_step`."""

    sequences: int
    """That decode."""
    queries: int
    """Tokens that they compute: more than one each where drafts are verified."""
    context_tokens: int
    """That they had in the cache before, in all."""
    longest_context: int
    """Of one of them: how far the contexts spread."""
    prompts: int
    """Chunks of prompts, of one request each."""
    new_tokens: int
    past_tokens: int
    """In the cache before the chunks, in all."""
    pairs: int
    """Pairs of a chunk's token and one that it attends to."""

    @property
    def is_decode(self) -> bool:
        """Whether nobody's prompt is in it."""
        return not self.prompts

    @property
    def key(self) -> tuple[int, ...]:
        """What a `StepCost` knows of a step: of the contexts, their whole mean."""
        mean = self.context_tokens // self.sequences if self.sequences else 0
        return self.sequences, self.queries, mean, *self[4:]

    @property
    def point(self) -> str:
        """The cell of a cost file."""
        return ";".join(f"{name}={size}" for name, size in zip(_NAMES, self, strict=True))

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The work of a simulated or emulated step, whose longest context is not known: 0."""
        chunks = [group for group in batch.groups if not group.is_decode]
        decodes = [group for group in batch.groups if group.is_decode]
        return cls(
            sequences=sum(group.sequences for group in decodes),
            queries=sum(group.query_tokens * group.sequences for group in decodes),
            context_tokens=sum(group.context_sum for group in decodes),
            longest_context=0,
            prompts=len(chunks),
            new_tokens=sum(group.query_tokens for group in chunks),
            past_tokens=sum(group.context_sum for group in chunks),
            pairs=sum(pairs(group.query_tokens, group.context_sum) for group in chunks),
        )


_NAMES = DIMENSIONS[OPERATION]


def pairs(new_tokens: int, past_tokens: int) -> int:
    """Pairs of one of a chunk's tokens and a token that it attends to, itself among them."""
    return new_tokens * past_tokens + new_tokens * (new_tokens + 1) // 2
