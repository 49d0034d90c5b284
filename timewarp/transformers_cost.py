"""What a step of transformers costs where PyTorch's own attention computes it, as on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, Group, StepTime
from servecast.primitives.cost import CostSource
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.decomposition import (
    Counted,
    head_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import Attention, DenseFfn, LayerGroup
from servecast.primitives.operations import ACTIVATION_BYTES, Elementwise


@dataclass(frozen=True, slots=True)
class LoopTime:
    """What transformers' loop takes around a step of the model, by what the step computes.

    The loop builds lists of cache slots and, for PyTorch's own attention, a mask of all queries by
    all keys, so that more than the number of requests counts.
    """

    step_s: float
    sequence_s: float
    query_token_s: float
    cached_token_s: float
    mask_element_s: float

    def seconds(self, work: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds for rows of `work_of`."""
        weights = np.array([getattr(self, field.name) for field in fields(self)])
        return np.asarray(work @ weights, dtype=np.float64)


def work_of(batch: Batch) -> tuple[float, ...]:
    """What `LoopTime`'s coefficients multiply: one step, and its sizes."""
    tokens, keys = batch.tokens, _keys(batch)
    return 1.0, float(batch.sequences), float(tokens), float(keys), float(tokens * keys)


def _keys(batch: Batch) -> int:
    return batch.tokens + sum(group.context_sum for group in batch.groups)


class MaskedStepCost:
    """A `StepCost` of transformers without flash attention.

    The whole batch is one attention of all its queries over all its keys, those of other requests
    masked out but computed, and the keys are gathered from their pages before. Norms, rotations
    and gates are not fused. Priced kernel by kernel, with `launch_s` for starting them all from
    Python, and `loop` for the engine's own work.
    """

    needs_spread = False

    def __init__(
        self, deployment: Deployment, source: CostSource, loop: LoopTime, launch_s: float = 0.0
    ) -> None:
        self.deployment, self._source = deployment, source
        self.loop, self.launch_s = loop, launch_s
        self._token_ns: dict[int, int] = {}
        self._head_ns: dict[int, int] = {}
        self._attention_ns: dict[tuple[int, int], int] = {}
        self._runs: dict[int, DecodeRun] = {}

    def step(self, batch: Batch) -> StepTime:
        """Nanoseconds of one step of `batch`: of the model, and of the loop around it."""
        tokens, sequences, keys = batch.tokens, batch.sequences, _keys(batch)
        place = (tokens, keys)
        if tokens not in self._token_ns:
            self._token_ns[tokens] = self._price(self._tokens(float(tokens)))
        if sequences not in self._head_ns:
            self._head_ns[sequences] = self._price(
                head_operations(self.deployment, float(sequences))
            )
        if place not in self._attention_ns:
            self._attention_ns[place] = self._price(self._attention(tokens, keys))
        device_ns = self._token_ns[tokens] + self._head_ns[sequences] + self._attention_ns[place]
        host_s = float(self.loop.seconds(np.array(work_of(batch))))
        return StepTime(device_ns + round(self.launch_s * 1e9), round(host_s * 1e9))

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """Steps of `sequences` sequences by their mean context."""

        def attention(contexts: NDArray[np.float64]) -> NDArray[np.int64]:
            steps = [self._decode_ns(sequences, int(context)) for context in contexts]
            return np.array(steps, dtype=np.int64)

        if sequences not in self._runs:
            self._runs[sequences] = DecodeRun(attention, 0)
        return self._runs[sequences]

    def spread(self, contexts: Sequence[int]) -> int:
        """0: the sum of the contexts is all that counts."""
        return 0

    def _decode_ns(self, sequences: int, context: int) -> int:
        step = self.step(Batch((Group(1, sequences, sequences * context, 0, True),)))
        return step.device_ns + step.host_ns

    def _tokens(self, tokens: float) -> Counted:
        yield from token_operations(self.deployment, tokens)
        for group in self.deployment.model.layers:
            elements = _unfused(self.deployment.model.hidden, group)
            yield group.count, Elementwise(tokens * elements * ACTIVATION_BYTES)

    def _attention(self, tokens: int, keys: int) -> Counted:
        yield from prefill_operations(self.deployment, float(tokens), float(keys - tokens))
        for group in self.deployment.model.layers:
            if keys > tokens and isinstance(group.mixer, Attention):
                width = group.mixer.kv_heads * (group.mixer.head_dim + group.mixer.value_dim)
                yield group.count, Elementwise(2 * keys * width * ACTIVATION_BYTES)

    def _price(self, operations: Counted) -> int:
        seconds = 0.0
        for count, operation in operations:
            cost = self._source.cost(operation, self.deployment.accelerator)
            seconds += count * float(cost.seconds)
        return round(seconds * 1e9)


def _unfused(hidden: int, group: LayerGroup) -> int:
    """Elements that a token's small operations read and write beyond those of fused ones.

    Counted in the modelling code of Llama: a norm is four operations and passes a row seven times,
    a residual three; a rotation is five and passes its half-turned copy too, ten in all; keys and
    values are written to their pages and the output is laid out anew; a gate passes five rows.
    """
    elements = (2 * (7 + 3) - 2 * 4) * hidden
    if isinstance(group.mixer, Attention):
        query = group.mixer.heads * group.mixer.head_dim
        key = group.mixer.kv_heads * group.mixer.head_dim
        elements += (10 - 2) * (query + key) + 2 * (2 * key) + 2 * query
    if isinstance(group.ffn, DenseFfn):
        elements += (5 - 3) * group.ffn.width
    return elements
