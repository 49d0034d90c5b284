"""The cost of steps that verify drafted tokens: multi-token prediction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.step_cost import CompiledStepCost

ACCEPTANCE = 0.75
"""Chance that a draft is accepted where those before it were: three drafts then yield 2.7 tokens a
step, between the 2.6 and 3.2 that DeepSeek-R1's rows with and without drafts suggest (B200,
TensorRT-LLM, four clients) [F]."""


def expected_yield(drafts: int) -> float:
    """Tokens that a step with so many drafts yields on average."""
    return sum(ACCEPTANCE**k for k in range(drafts + 1))


class DraftingStepCost:
    """A step cost a token: each step verifies `drafts` tokens more than it has sequences.

    Its time is shared by the tokens that it yields on average, so that a request's last step may
    end a fraction of a step early. A draft itself costs one layer of the model.
    """

    def __init__(self, cost: CompiledStepCost, drafts: int) -> None:
        self._cost, self._drafts = cost, drafts
        self._yield = expected_yield(drafts)
        self._draft_share = drafts / cost.deployment.model.num_layers
        self._runs: dict[tuple[int, int], DecodeRun] = {}

    @property
    def needs_spread(self) -> bool:
        """Whether `spread` matters."""
        return self._cost.needs_spread

    def spread(self, contexts: Sequence[int]) -> int:
        """The bucket of a decode group with these cached contexts."""
        return self._cost.spread(contexts)

    def step(self, batch: Batch) -> StepTime:
        """A step with prompts: decodes beside them are verified too, and yield one token."""
        return self._cost.step(Batch(tuple(self._verified(group) for group in batch.groups)))

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """The run of decode steps with `sequences` sequences, a token each."""
        run = self._runs.get((sequences, spread))
        if run is None:
            plain = self._cost.decode_run(sequences, spread)
            first = self._verified(Group(1, sequences, 0, spread, True))
            device_ns, host_ns = self._cost.step(Batch((first,)))
            drafts_ns = self._draft_share * plain.run_ns(0, 1)
            fixed_ns = device_ns - plain.step_attention_ns(0) + drafts_ns
            run = self._runs[sequences, spread] = DecodeRun(
                lambda contexts: self._attention_ns(plain, contexts),
                round(fixed_ns / self._yield),
                exposed_ns=round(host_ns / self._yield),
            )
        return run

    def _verified(self, group: Group) -> Group:
        return group._replace(query_tokens=1 + self._drafts) if group.is_decode else group

    def _attention_ns(self, plain: DecodeRun, contexts: NDArray[np.float64]) -> NDArray[np.int64]:
        whole = plain.attention_ns(int(contexts[0]), int(contexts[-1]) + 1)
        return np.rint(whole / self._yield).astype(np.int64)
