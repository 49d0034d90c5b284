"""Whole steps that were profiled, beside what the profile's single kernels add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np

from benchmarks.table import Row
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import CostSource
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, TableKey
from servecast.primitives.decomposition import (
    decode_operations,
    head_operations,
    token_operations,
)
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.primitives.elementwise_source import ElementwiseSource
from servecast.primitives.grid import Grid
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.model import Attention, DenseFfn, LayerGroup, ModelSpec
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.table_preferences import OWN, TablePreferences
from servecast.primitives.table_source import TableSource
from servecast.primitives.utilisation import Floats
from servecast.profiler.probe_work import ideal_work

Sizes = Mapping[str, int]


def profiled_source(store: CostStore) -> CostSource:
    """Step costs from our own profile alone, the roofline behind it."""
    tables = TableSource(MeasuredTables(store), TablePreferences((OWN,)))
    return ChainedSource([tables, ElementwiseSource(store, OWN), RooflineSource()])


class StepCheck:
    """Prices whole steps by the kernels of a profile, and compares with what they were profiled at.

    Verifications read the profile's own table of them, which step costs have no operation for.
    """

    def __init__(self, store: CostStore, device: Accelerator) -> None:
        self._store, self._device = store, device
        self._source = profiled_source(store)

    def rows(self) -> list[Row]:
        """A row for each profiled step: measured, predicted, and how far that is off."""
        rows: list[Row] = []
        for table in profiled(self._store, "model_step", self._device):
            for point, seconds in zip(table.points.tolist(), table.seconds.tolist(), strict=True):
                sizes = dict(zip(table.dimensions, point, strict=True))
                predicted_s = self._seconds(sizes, Dtype(table.key.dtype))
                if predicted_s is not None:
                    rows.append(_row(sizes, seconds, predicted_s))
        return rows

    def _seconds(self, sizes: Sizes, dtype: Dtype) -> float | None:
        """The sum of the step's kernels; None where its verification was not measured."""
        served = _deployment(sizes, dtype, self._device)
        rows, seconds = float(sizes["sequences"] * sizes["queries"]), 0.0
        parts = [token_operations(served, rows), head_operations(served, rows)]
        if sizes["queries"] == 1:
            context = float(sizes["context_tokens"] - 1)
            parts.append(decode_operations(served, sizes["sequences"], context))
        else:
            attention_s = self._verification_s(sizes, dtype)
            if attention_s is None:
                return None
            seconds = attention_s * sizes["layers"]
        for part in parts:
            for count, operation in part:
                seconds += count * float(self._source.cost(operation, self._device).seconds)
        return seconds

    def _verification_s(self, sizes: Sizes, dtype: Dtype) -> float | None:
        shape = ("queries", "heads", "kv_heads", "head_dim")
        for table in profiled(self._store, "verify_attention", self._device):
            columns = dict(zip(table.dimensions, table.points.T, strict=True))
            own = np.all([columns[name] == sizes[name] for name in shape], axis=0)
            if table.key.dtype != dtype or not own.any():
                continue
            at = np.stack([columns["batch"], columns["context_tokens"]], axis=1)[own]
            ideal = partial(self._ideal, table.key, {name: sizes[name] for name in shape})
            grid = Grid(at.astype(np.float64), table.seconds[own], ideal)
            batch, context = (np.array([float(sizes[n])]) for n in ("sequences", "context_tokens"))
            return float(grid.seconds(batch, context)[0])
        return None

    def _ideal(self, key: TableKey, shape: Sizes, batch: Floats, context: Floats) -> Floats:
        others = {name: np.array([float(size)]) for name, size in shape.items()}
        sizes = {**others, "batch": batch, "context_tokens": context}
        return ideal_work(key, sizes, self._device)


def profiled(store: CostStore, operation: str, device: Accelerator) -> list[CostTable]:
    """The newest tables of an operation that our profiler measured, those of launches aside."""
    found = store.find(operation, device.name, source=OWN)
    return [table for table in found if not table.key.is_eager]


def _row(sizes: Sizes, seconds: float, predicted_s: float) -> Row:
    return {
        "model": f"{sizes['layers']} layers of {sizes['hidden']}",
        "queries": sizes["queries"],
        "sequences": sizes["sequences"],
        "context": sizes["context_tokens"],
        "measured ms": seconds * 1e3,
        "predicted ms": predicted_s * 1e3,
        "off %": (predicted_s / seconds - 1) * 100,
    }


def ratio_rows(tables: Iterable[CostTable]) -> list[Row]:
    """What a verification and a step that skips layers cost, in decode steps of the same batch."""
    steps: dict[tuple[tuple[int, ...], int, int], float] = {}
    for table in tables:
        if table.key.operation == "model_step" and not table.key.is_eager:
            for point, seconds in zip(table.points.tolist(), table.seconds.tolist(), strict=True):
                sequences, queries, context, layers, *shape = point
                steps[(sequences, context, *shape), queries, layers] = seconds
    rows: list[Row] = []
    for (load, queries, layers), seconds in sorted(steps.items()):
        whole = max(other for own, _, other in steps if own == load)
        decode_s = steps.get((load, 1, whole))
        if decode_s is None or (queries > 1) == (layers < whole):
            continue  # the decode step itself, or a verification by a shallower model
        kind = f"{queries} queries" if queries > 1 else f"{layers} of {whole} layers"
        batch = f"{load[0]} at {load[1]}"
        row: Row = {
            "width": load[2],
            "sequences": batch,
            "step": kind,
            "in decodes": seconds / decode_s,
        }
        rows.append(row)
    return rows


def off_rows(rows: Iterable[Row]) -> list[Row]:
    """Median and P90 of how far steps are off, in percent, decodes and verifications apart."""
    off: dict[str, list[float]] = {}
    for row in rows:
        kind = "decode" if row["queries"] == 1 else "verification"
        off.setdefault(kind, []).append(abs(float(row["off %"])))
    return [
        {
            "step": kind,
            "points": len(found),
            "median %": float(np.median(found)),
            "P90 %": float(np.quantile(found, 0.9)),
        }
        for kind, found in off.items()
    ]


def _deployment(sizes: Sizes, dtype: Dtype, device: Accelerator) -> Deployment:
    attention = Attention(sizes["heads"], sizes["kv_heads"], sizes["head_dim"])
    tokens = sizes["context_tokens"]
    model = ModelSpec(
        name=f"{sizes['layers']} layers of {sizes['hidden']}",
        architecture="LlamaForCausalLM",
        hidden=sizes["hidden"],
        vocab=sizes["vocab"],
        tie_embeddings=False,
        max_model_len=tokens,
        weights_dtype=dtype,
        layers=(LayerGroup(sizes["layers"], attention, DenseFfn(sizes["width"])),),
        source="random weights",
    )
    return Deployment(model, device, "transformers", "", dtype, dtype, tokens, 1, tokens)
