"""Step costs whose attention was measured as engines run it: prompts and decodes in one call."""

from __future__ import annotations

from itertools import product
from math import log, log1p, prod

import numpy as np
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import Attention
from servecast.primitives.sharding import Sharding
from servecast.primitives.step_cost import CompiledStepCost, HostTime

Floats = NDArray[np.float64]
_Points = dict[tuple[int, ...], float]


class MixedRatio:
    """How much longer one call for a prompt chunk and decodes takes than the two apart.

    Interpolated between the points of a full grid of measurements, in the logarithms of its four
    sizes; at its edge beyond it.
    """

    def __init__(self, axes: list[Floats], ratios: Floats) -> None:
        """`axes` are logarithms of the grid's sizes, ascending; `ratios` has a dimension each."""
        self._axes, self._ratios = axes, ratios

    def at(self, new_tokens: int, past_tokens: int, sequences: int, context: int) -> float:
        """The ratio for a chunk of `new_tokens` beside `sequences` of mean `context`."""
        point = (log(new_tokens), log1p(past_tokens), log(sequences), log(max(context, 1)))
        cells = [_cell(axis, each) for axis, each in zip(self._axes, point, strict=True)]
        total = 0.0
        for corner in product((0, 1), repeat=len(cells)):
            index = tuple(low + side for (low, _), side in zip(cells, corner, strict=True))
            shares = (f if side else 1 - f for (_, f), side in zip(cells, corner, strict=True))
            total += prod(shares) * float(self._ratios[index])
        return total


def _cell(axis: Floats, at: float) -> tuple[int, float]:
    """The grid line below a value, and how far it is towards the next."""
    low = int(np.clip(np.searchsorted(axis, at) - 1, 0, len(axis) - 2))
    share = (at - axis[low]) / (axis[low + 1] - axis[low])
    return low, float(np.clip(share, 0.0, 1.0))


def mixed_ratio(store: CostStore, deployment: Deployment, source: str) -> MixedRatio:
    """The ratios measured for the deployment's heads; UnsupportedError where there are none."""
    mixer = deployment.model.layers[0].mixer
    local = Sharding.of(deployment).local_mixer(mixer) if mixer else None
    device = deployment.accelerator.name
    ratios: _Points = {}
    if isinstance(local, Attention):
        ratios = _ratios(store, device, source, (local.heads, local.kv_heads, local.head_dim))
    grid = [sorted({at[size] for at in ratios}) for size in range(4)]
    if not ratios or prod(map(len, grid)) != len(ratios):
        raise UnsupportedError(
            f"no full grid of mixed attention was measured on {device} for the heads of "
            f"{deployment.model.name}",
            hint="take CompiledStepCost, which adds prefill and decode",
        )
    axes = [np.log(np.array(sizes) + (size == 1)) for size, sizes in enumerate(grid)]
    values = np.array([ratios[at] for at in product(*grid)])
    return MixedRatio(axes, values.reshape([len(sizes) for sizes in grid]))


def _ratios(store: CostStore, device: str, source: str, heads: tuple[int, ...]) -> _Points:
    """Ratios where all sizes are powers of two: some GPUs have points beside that grid."""
    mixed = _points(store, "mixed_attention", device, source, heads, 4)
    prefill = _points(store, "prefill_attention", device, source, heads, 3)
    decode = _points(store, "decode_attention", device, source, heads, 2)
    return {
        at: seconds / (prefill[1, *at[:2]] + decode[at[2:]])
        for at, seconds in mixed.items()
        if not any(size & (size - 1) for size in at)
    }


def _points(
    store: CostStore, operation: str, device: str, source: str, heads: tuple[int, ...], sizes: int
) -> _Points:
    """Seconds by the table's first sizes, for these heads alone."""
    found: _Points = {}
    for table in store.find(operation, device, source=source):
        for row, seconds in zip(table.points.tolist(), table.seconds.tolist(), strict=True):
            at = tuple(int(size) for size in row)
            if at[sizes : sizes + 3] == heads:
                found[at[:sizes]] = float(seconds)
    return found


class MixedStepCost(CompiledStepCost):
    """A step cost whose steps with prompts beside decodes run one attention kernel for both."""

    def __init__(
        self, deployment: Deployment, source: CostSource, host: HostTime, ratio: MixedRatio
    ) -> None:
        super().__init__(deployment, source, host)
        self._ratio = ratio

    def step(self, batch: Batch) -> StepTime:
        """Nanoseconds of one step; the widest chunk stands for all, as one was measured."""
        apart = super().step(batch)
        decode, *chunks = batch.groups
        if not decode.is_decode or not chunks:
            return apart
        context = decode.context_sum // decode.sequences
        attention_ns = self._decode_ns(decode.sequences, context, decode.spread)
        attention_ns += sum(self._prefill_ns(c.query_tokens, c.context_sum) for c in chunks)
        widest = max(chunks, key=lambda chunk: chunk.query_tokens)
        ratio = self._ratio.at(widest.query_tokens, widest.context_sum, decode.sequences, context)
        return StepTime(apart.device_ns + round((ratio - 1) * attention_ns), apart.host_ns)
