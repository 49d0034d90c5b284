"""Measured costs of one operation on one device by one kernel source: what the cost store holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError
from servecast.primitives.rows import sorted_rows


@dataclass(frozen=True, slots=True)
class TableKey:
    """What a table was measured for; everything that is the same in all its rows."""

    operation: str
    """gemm, prefill_attention, decode_attention, moe, all_reduce … (`DIMENSIONS`)."""
    device: str
    """The accelerator's catalogue name."""
    dtype: str
    """Format of the weights (gemm, moe), of the computation (attention) or of the payload."""
    source: str
    """Whose kernel: an engine (vllm, sglang, trtllm), a library (nccl), or our own profiler."""
    version: str
    variant: str = ""
    """What else tells kernels apart: KV format, routing distribution, block scaling."""
    is_eager: bool = False
    """Measured without CUDA graphs: small sizes then hold the launch, not the kernel."""

    @property
    def traits(self) -> dict[str, str]:
        """The variant's parts by name: `kv=fp8,kernel=fa3` has the two, kv and kernel."""
        parts = (part.partition("=") for part in self.variant.split(",") if part)
        return {name: value for name, _, value in parts}


def variant_of(traits: Mapping[str, str]) -> str:
    """The variant with these traits: `name=value`, joined by commas in the order they are given."""
    return ",".join(f"{name}={value}" for name, value in traits.items())


DIMENSIONS: dict[str, tuple[str, ...]] = {
    "gemm": ("m", "n", "k"),
    "prefill_attention": (
        "batch", "new_tokens", "past_tokens", "heads", "kv_heads", "head_dim", "window",
    ),
    "decode_attention": ("batch", "context_tokens", "heads", "kv_heads", "head_dim", "window"),
    "verify_attention": (
        "batch", "queries", "context_tokens", "heads", "kv_heads", "head_dim", "window",
    ),
    "block_sparse_attention": (
        "tokens", "density_percent", "heads", "kv_heads", "head_dim", "block",
    ),
    "mla_prefill": ("batch", "new_tokens", "past_tokens", "heads"),
    "mla_decode": ("batch", "context_tokens", "heads"),
    "mla_prefill_module": ("batch", "new_tokens", "past_tokens", "heads"),
    "mla_decode_module": ("batch", "context_tokens", "heads"),
    "dsa_prefill_module": ("batch", "new_tokens", "past_tokens", "heads", "hidden"),
    "dsa_decode_module": ("batch", "context_tokens", "heads", "hidden"),
    "delta_rule": ("batch", "new_tokens", "key_heads", "value_heads", "key_dim", "value_dim"),
    "mixed_attention": (
        "new_tokens", "past_tokens", "sequences", "context_tokens", "heads", "kv_heads", "head_dim",
    ),
    "mla_bmm": ("tokens", "heads"),
    "moe": (
        "tokens", "hidden", "width", "experts_per_token", "experts", "tensor_parallel",
        "expert_parallel",
    ),
    "all_reduce": ("payload_elements", "ranks"),
    "all_gather": ("payload_elements", "ranks"),
    "reduce_scatter": ("payload_elements", "ranks"),
    "all_to_all": ("payload_elements", "ranks"),
    "moe_dispatch": ("tokens", "hidden", "experts_per_token", "experts", "ranks", "nodes"),
    "moe_combine": ("tokens", "hidden", "experts_per_token", "experts", "ranks", "nodes"),
    "elementwise": ("tokens", "width"),
    "sampling": ("sequences", "vocab"),
    "host_copy": ("bytes", "pieces"),
    "model_step": (
        "sequences", "queries", "context_tokens", "layers", "hidden", "heads", "kv_heads",
        "head_dim", "width", "vocab",
    ),
    "engine_step": (
        "sequences", "queries", "context_tokens", "longest_context", "prompts", "new_tokens",
        "past_tokens", "pairs",
    ),
}  # fmt: skip
"""The integer dimensions of each operation's rows. A window of 0 means none.

The context of a verification or a model's step counts the step's own queries too.
"""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Measured seconds over integer dimensions: rows sorted by dimensions, without duplicates."""

    key: TableKey
    points: NDArray[np.int64]
    """One row a measurement, one column a dimension of `DIMENSIONS[key.operation]`."""
    seconds: NDArray[np.float64]
    spread: NDArray[np.float64] = field(repr=False)
    """Relative half-width over repeats; NaN where a point was measured once."""
    origin: str = ""
    """Where the rows come from: package and file, or the command and date that measured them."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the columns of `points`."""
        return DIMENSIONS[self.key.operation]

    def __len__(self) -> int:
        return len(self.seconds)


def cost_table(
    key: TableKey,
    points: NDArray[np.int64],
    seconds: NDArray[np.float64],
    *,
    spread: NDArray[np.float64] | None = None,
    origin: str = "",
) -> CostTable:
    """A table from raw rows: sorted, duplicates averaged (their range widens the spread).

    InputError where dimensions do not fit the operation, or a time is not positive and finite.
    """
    if key.operation not in DIMENSIONS or points.shape[1] != len(DIMENSIONS[key.operation]):
        raise InputError(
            f"table of `{key.operation}` has {points.shape[1]} dimensions\n"
            f"  known: {', '.join(f'{k} ({len(v)})' for k, v in DIMENSIONS.items())}"
        )
    if not np.all(np.isfinite(seconds) & (seconds > 0)):
        raise InputError(
            f"table of `{key.operation}` on {key.device} has a time that is not positive"
        )
    order, is_new = sorted_rows(points)
    known = np.zeros(len(seconds)) if spread is None else np.nan_to_num(spread)
    seconds, spread = _averaged(seconds[order], known[order], is_new)
    return CostTable(key, points[order][is_new], seconds, spread, origin)


def _averaged(
    seconds: NDArray[np.float64], known: NDArray[np.float64], is_new: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of each run of equal rows; `known` is the spread a row already has, or 0."""
    if is_new.all():
        return seconds, np.where(known == 0, np.nan, known)
    place = np.cumsum(is_new) - 1
    counts = np.bincount(place)
    mean = np.bincount(place, weights=seconds) / counts
    widest = np.zeros(len(mean))
    np.maximum.at(widest, place, np.maximum(known, np.abs(seconds / mean[place] - 1)))
    measured_once = (counts == 1) & (widest == 0)
    return mean, np.where(measured_once, np.nan, widest)
