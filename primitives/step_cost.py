"""The cost of an engine step, compiled once for a deployment and called millions of times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.cost import CostSource, Provenance
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.decomposition import (
    Counted,
    decode_operations,
    handover_operations,
    head_operations,
    own_operations,
    prefill_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention, ModelSpec
from servecast.primitives.operations import Quantity
from servecast.primitives.sharding import Sharding

SPREAD_BUCKETS = 16
"""Resolution of the share of a sliding window that the group's contexts really fill."""


class StepCost(Protocol):
    """What the simulator asks of a cost: steps, decode runs, and the spread bucket of contexts."""

    def step(self, batch: Batch) -> StepTime:
        """Device and host nanoseconds of one step."""
        ...

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """Prefix sums of decode steps with `sequences` sequences, device and host together."""
        ...

    @property
    def needs_spread(self) -> bool:
        """Whether `spread` matters (the model has sliding windows)."""
        ...

    def spread(self, contexts: Sequence[int]) -> int:
        """The bucket of a decode group with these cached contexts."""
        ...


@dataclass(frozen=True, slots=True)
class StepOrigin:
    """Where a step's device time comes from."""

    shares: Mapping[Provenance, float]
    """Of the device seconds, by how the costs are known."""
    relative_error: float
    """Half-width of the band around the device time: the mean of its parts' by seconds."""


class CompiledStepCost:
    """A `StepCost` from a cost source: curves over tokens and sequences, attention on demand.

    Every part is rounded to integer nanoseconds on its own, so that sums are exact and a decode
    step costs the same alone, inside a run, or beside prefill chunks.
    """

    def __init__(
        self,
        deployment: Deployment,
        source: CostSource,
        host: HostTime | None = None,
        *,
        samples: bool = True,
        leaves_node: bool = False,
        shares_experts: bool = True,
    ) -> None:
        """`samples` is False for a pipeline stage that hands its tokens on to the next one, and
        `leaves_node` says whether that is on another node. Without `shares_experts` a step is what
        a data-parallel rank computes alone.
        """
        self.deployment = deployment
        self._source = source
        self._samples, self._leaves_node = samples, leaves_node
        self._shares_experts = shares_experts
        widest = max(deployment.max_num_batched_tokens, deployment.max_num_seqs)
        tokens = np.arange(widest + 1, dtype=np.float64)
        sequences = np.arange(deployment.max_num_seqs + 1, dtype=np.float64)
        self._token_ns: list[int] = self._price(self._of_tokens(tokens)).tolist()
        self._drafts = deployment.num_drafts
        rows = np.arange(deployment.max_num_seqs * (1 + self._drafts) + 1, dtype=np.float64)
        head_ns = self._price(self._of_rows(rows))
        self._head_ns: list[int] = np.broadcast_to(head_ns, rows.shape).tolist()
        host = host or HostTime.of(deployment)
        exposed_s = host.step_s + host.sequence_s * sequences
        hidden_s = host.overlapped_step_s + host.overlapped_sequence_s * sequences
        self._exposed_ns: list[int] = _nanoseconds(exposed_s).tolist()
        self._hidden_ns: list[int] = _nanoseconds(hidden_s).tolist()
        self._eager_ns = round(host.eager_step_s * 1e9)
        self._overlaps = host.overlaps
        self._runs: dict[tuple[int, int], DecodeRun] = {}
        self._prefill: dict[tuple[int, int], int] = {}
        self._whole: list[int] = []
        """Prefill attention of a first chunk, by its tokens; priced in lots."""
        self._windows = _windows(deployment.model)
        self._mixed = self._mixed_ratio()

    @property
    def is_mixed_measured(self) -> bool:
        """Whether prompts beside decodes are priced as the one call of attention that they are."""
        return self._mixed is not None

    @property
    def needs_spread(self) -> bool:
        """Whether the model has sliding windows, whose cost depends on more than the mean."""
        return bool(self._windows)

    def spread(self, contexts: Sequence[int]) -> int:
        """How much less than its clipped mean a sliding window caches, in `SPREAD_BUCKETS`ths."""
        if not self._windows or not contexts:
            return 0
        window = min(self._windows)
        if min(contexts) + 1 >= window:
            return 0
        held = np.asarray(contexts, dtype=np.float64) + 1.0
        fill = np.minimum(held, window).mean() / min(float(held.mean()), window)
        return min(round((1.0 - float(fill)) * SPREAD_BUCKETS), SPREAD_BUCKETS - 1)

    def step(self, batch: Batch) -> StepTime:
        """Nanoseconds of one step of `batch`: on the device, and what the host takes beyond it."""
        device_ns = self.device_ns(batch, batch.tokens)
        return StepTime(device_ns, self.host_ns(batch, device_ns))

    def device_ns(self, batch: Batch, tokens: int) -> int:
        """Nanoseconds of a step on the device, `batch` being padded to so many tokens."""
        sequences = attention_ns = 0
        for query_tokens, count, context_sum, spread, is_decode in batch.groups:
            sequences += count
            if is_decode:
                attention_ns += self._decode_ns(count, context_sum // count, spread)
            else:
                attention_ns += self._prefill_ns(query_tokens, context_sum)
        if self._mixed is not None:
            attention_ns += round((self._mixed.of(batch) - 1) * attention_ns)
        rows = batch.rows if self._drafts else sequences
        return self._token_ns[tokens] + self._head_ns[rows] + attention_ns

    def host_ns(self, batch: Batch, device_ns: int) -> int:
        """What the engine's host code takes beyond so many nanoseconds on the device."""
        sequences = batch.sequences
        host_ns = self._exposed_ns[sequences]
        if self._overlaps:
            hidden_ns = self._hidden_ns[sequences]
            if not batch.groups[-1].is_decode:
                hidden_ns = max(hidden_ns, self._eager_ns)
            host_ns += max(0, hidden_ns - device_ns)
        return host_ns

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """The run of decode steps with `sequences` sequences, compiled on first use."""
        run = self._runs.get((sequences, spread))
        if run is None:
            fill = 1.0 - spread / SPREAD_BUCKETS
            run = self._runs[sequences, spread] = DecodeRun(
                lambda context: self._price(
                    decode_operations(self.deployment, sequences, context, fill)
                ),
                self._token_ns[sequences] + self._head_ns[sequences],
                hidden_ns=self._hidden_ns[sequences],
                exposed_ns=self._exposed_ns[sequences],
            )
        return run

    def origin(self, batch: Batch) -> StepOrigin:
        """Where the device time of a step comes from."""
        seconds: dict[Provenance, float] = {}
        uncertain = 0.0
        for count, operation in self._operations(batch):
            cost = self._source.cost(operation, self.deployment.accelerator)
            spent = count * float(cost.seconds)
            seconds[cost.provenance] = seconds.get(cost.provenance, 0.0) + spent
            uncertain += spent * cost.relative_error
        total = sum(seconds.values())
        shares = {provenance: spent / total for provenance, spent in seconds.items()}
        return StepOrigin(shares, uncertain / total)

    def _operations(self, batch: Batch) -> Counted:
        yield from self._of_tokens(float(batch.tokens))
        yield from self._of_rows(float(batch.rows if self._drafts else batch.sequences))
        for group in batch.groups:
            if group.is_decode:
                context = group.context_sum / group.sequences
                yield from decode_operations(self.deployment, group.sequences, context)
            else:
                yield from prefill_operations(
                    self.deployment, float(group.query_tokens), float(group.context_sum)
                )

    def _of_tokens(self, tokens: Quantity) -> Counted:
        operations = token_operations if self._shares_experts else own_operations
        yield from operations(self.deployment, tokens)
        if not self._samples:
            yield from handover_operations(self.deployment, tokens, leaves_node=self._leaves_node)

    def _of_rows(self, rows: Quantity) -> Counted:
        if self._samples:
            yield from head_operations(self.deployment, rows)

    def _mixed_ratio(self) -> MixedRatio | None:
        """Of the attention that all layers share; None for models with several kinds of mixers."""
        sharding = Sharding.of(self.deployment)
        mixers = [group.mixer for group in self.deployment.model.layers if group.mixer is not None]
        local, *others = dict.fromkeys(map(sharding.local_mixer, mixers)) or [None]
        if others or not isinstance(local, Attention) or local.window is not None:
            return None
        return self._source.mixed_ratio(local, self.deployment.accelerator)

    def _decode_ns(self, sequences: int, context: int, spread: int) -> int:
        return self.decode_run(sequences, spread).step_attention_ns(context)

    def _prefill_ns(self, new_tokens: int, past_tokens: int) -> int:
        if not past_tokens:
            if new_tokens >= len(self._whole):
                self._reach_whole(new_tokens)
            return self._whole[new_tokens]
        key = (new_tokens, past_tokens)
        ns = self._prefill.get(key)
        if ns is None:
            operations = prefill_operations(self.deployment, float(new_tokens), float(past_tokens))
            ns = self._prefill[key] = round(float(self._seconds(operations)) * 1e9)
        return ns

    def _reach_whole(self, new_tokens: int) -> None:
        known = len(self._whole)
        upto = max(512, 2 * known, new_tokens + 1)
        tokens = np.arange(known, upto, dtype=np.float64)
        whole = self._price(prefill_operations(self.deployment, tokens, 0.0))
        self._whole += np.broadcast_to(whole, tokens.shape).tolist()  # no mixer costs one 0

    def _price(self, operations: Counted) -> NDArray[np.int64]:
        return _nanoseconds(np.asarray(self._seconds(operations), dtype=np.float64))

    def _seconds(self, operations: Counted) -> Quantity:
        seconds: Quantity = 0.0
        device = self.deployment.accelerator
        for count, operation in operations:
            seconds = seconds + count * self._source.seconds(operation, device)
        return seconds


def _windows(model: ModelSpec) -> list[int]:
    mixers = (group.mixer for group in model.layers)
    each = (mixer.window for mixer in mixers if isinstance(mixer, Attention))
    return [window for window in each if window is not None]


def _nanoseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(seconds * 1e9).astype(np.int64)
