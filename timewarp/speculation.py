"""Speculative decoding of an emulated engine: who drafts, and how many drafts are accepted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Literal

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.step_cost import StepCost

Method = Literal["ngram", "draft_model"]


@dataclass(frozen=True, slots=True)
class Speculation:
    """Drafts for each step of a decoding request, of which the engine takes the accepted."""

    method: Method
    num_speculative_tokens: int
    acceptance: tuple[float, ...]
    """By position: the chance that this draft and all before it are accepted, as vLLM's counters
    `accepted_tokens_per_pos` over `drafts` give it."""
    draft: StepCost | None = None
    """What a step of the draft model costs. Its weights and its cache take memory: whoever states
    it lowers `num_gpu_blocks_override` by that."""
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.acceptance) != self.num_speculative_tokens:
            raise InputError(
                f"acceptance has {len(self.acceptance)} positions, and num_speculative_tokens is "
                f"{self.num_speculative_tokens}",
                hint="give one chance for each drafted position",
            )
        chances = (1.0, *self.acceptance, 0.0)
        if not all(before >= after for before, after in pairwise(chances)):
            raise InputError(
                f"acceptance {list(self.acceptance)} is not between 1 and 0 and falling: a draft "
                "is accepted only after all before it",
                hint="give the chance that the first i drafts are all accepted, for i = 1, 2, …",
            )
        if (self.draft is None) != (self.method == "ngram"):
            raise InputError(
                f"method {self.method} {'needs' if self.draft is None else 'has no'} draft model",
                hint="give `draft`, a step cost, with the method draft_model alone",
            )

    def accepted(self, request: int, position: int) -> int:
        """How many drafts for the output from `position` on are accepted: a matter of these two
        alone, however the engine came there."""
        key = f"{self.seed}/{request}/{position}".encode()
        drawn = int.from_bytes(blake2b(key, digest_size=8).digest()) / 2**64
        return sum(drawn < chance for chance in self.acceptance)

    def words(self, model: str) -> list[str]:
        """The options that switch it on in vLLM; `model` is the folder of the draft model."""
        config: dict[str, object] = {
            "method": self.method,
            "num_speculative_tokens": self.num_speculative_tokens,
        }
        if self.method == "draft_model":
            config["model"] = model
        return ["--speculative-config", json.dumps(config)]

    def priced(self, cost: StepCost) -> StepCost:
        """The cost of a step of the target with the drafts for the next one."""
        return cost if self.draft is None else DraftedCost(cost, self)


class DraftedCost:
    """A `StepCost` whose steps end with the draft model's: it computes what the target computed,
    and then one token more of each sequence for every further draft."""

    def __init__(self, cost: StepCost, speculation: Speculation) -> None:
        self._cost = cost
        self._draft = speculation.draft or cost
        self._further = speculation.num_speculative_tokens - 1

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
        if self._further:
            context_sum = sum(
                group.context_sum + group.query_tokens * group.sequences for group in batch.groups
            )
            one_each = Batch((Group(1, batch.sequences, context_sum, 0, True),))
            device_ns += self._further * self._draft.step(one_each).device_ns
        return StepTime(device_ns, host_ns)
