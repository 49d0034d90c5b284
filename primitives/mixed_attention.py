"""Prompts beside decodes in one attention call, as engines run them, where that was measured."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import log, log1p, prod

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch
from servecast.primitives.cost_store import CostStore
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import Attention
from servecast.primitives.operations import DecodeAttention, PrefillAttention

Floats = NDArray[np.float64]
Alone = Callable[[PrefillAttention | DecodeAttention], float]
"""Seconds of either where it was not measured at a point of the grid."""

_Points = dict[tuple[int, ...], float]


class MixedRatio:
    """How much longer one call for a prompt chunk and decodes takes than the two apart.

    Interpolated between the points of a full grid of measurements, in the logarithms of its four
    sizes; at its edge beyond it.
    """

    def __init__(self, axes: list[Floats], ratios: Floats) -> None:
        """`axes` are logarithms of the grid's sizes, ascending; `ratios` has a dimension each."""
        self._axes, self._ratios = axes, ratios

    def of(self, batch: Batch) -> float:
        """The ratio for a step: the widest chunk stands for all, as do the first decodes."""
        decode = batch.groups[0]
        chunks = [group for group in batch.groups if not group.is_decode]
        if not decode.is_decode or not chunks:
            return 1.0
        widest = max(chunks, key=lambda chunk: chunk.query_tokens)
        context = decode.context_sum // decode.sequences
        return self.at(widest.query_tokens, widest.context_sum, decode.sequences, context)

    def at(self, new_tokens: int, past_tokens: int, sequences: int, context: int) -> float:
        """The ratio for a chunk of `new_tokens` beside `sequences` of mean `context`."""
        point = (log(new_tokens), log1p(past_tokens), log(sequences), log(max(context, 1)))
        cells = [_cell(axis, each) for axis, each in zip(self._axes, point, strict=True)]
        total = 0.0
        for corner in product(*cells):
            index = tuple(place for place, _ in corner)
            total += prod(share for _, share in corner) * float(self._ratios[index])
        return total


def _cell(axis: Floats, at: float) -> list[tuple[int, float]]:
    """The grid lines around a value, each with its share; one alone where there is only one."""
    if len(axis) == 1:
        return [(0, 1.0)]
    low = int(np.clip(np.searchsorted(axis, at) - 1, 0, len(axis) - 2))
    share = float(np.clip((at - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0))
    return [(low, 1 - share), (low + 1, share)]


def mixed_ratio(
    store: CostStore, device: str, source: str, attention: Attention, alone: Alone
) -> MixedRatio | None:
    """The ratios that a source measured for these heads; None where there is no full grid."""
    heads = (attention.heads, attention.kv_heads, attention.head_dim)
    ratios = _ratios(store, device, source, heads, alone)
    grid = [sorted({at[size] for at in ratios}) for size in range(4)]
    if not ratios or prod(map(len, grid)) != len(ratios):
        return None
    axes = [np.log(np.array(sizes) + (size == 1)) for size, sizes in enumerate(grid)]
    values = np.array([ratios[at] for at in product(*grid)])
    return MixedRatio(axes, values.reshape([len(sizes) for sizes in grid]))


def _ratios(
    store: CostStore, device: str, source: str, heads: tuple[int, int, int], alone: Alone
) -> _Points:
    """Ratios where all sizes are powers of two: some GPUs have points beside that grid."""
    mixed = _points(store, "mixed_attention", device, source, heads, 4)
    if not mixed:
        return {}
    prefill = _points(store, "prefill_attention", device, source, heads, 3)
    decode = _points(store, "decode_attention", device, source, heads, 2)
    ratios: _Points = {}
    for at, seconds in mixed.items():
        if not any(size & (size - 1) for size in at):
            new, past, sequences, context = at
            widths = (*heads, heads[-1], Dtype.BF16)
            chunk = prefill.get((1, new, past)) or alone(PrefillAttention(new, past, *widths))
            rows = decode.get((sequences, context))
            rows = rows or alone(DecodeAttention(sequences, float(context), *widths))
            ratios[at] = seconds / (chunk + rows)
    return ratios


def _points(
    store: CostStore, operation: str, device: str, source: str, heads: tuple[int, ...], sizes: int
) -> _Points:
    """Seconds by the table's first sizes, for these heads alone."""
    found: _Points = {}
    for table in store.find(operation, device, source=source):
        own = (table.points[:, sizes : sizes + 3] == heads).all(axis=1)
        at = map(tuple, table.points[own, :sizes].tolist())
        found.update(zip(at, table.seconds[own].tolist(), strict=True))
    return found
