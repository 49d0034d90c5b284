"""Cost tables of made-up kernels, whose every time a test can compute again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey, cost_table
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.operations import Gemm
from tests.toy_deployments import DEVICE

Floats = NDArray[np.float64]

OVERHEAD_S = 4e-6
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def key(operation: str = "gemm", **fields: str | bool) -> TableKey:
    """A key on the toy device, of vLLM's kernels unless said."""
    named: dict[str, str] = {"dtype": "bf16", "source": "vllm", "version": "0.24.0", "variant": ""}
    is_eager = bool(fields.pop("is_eager", False))
    named |= {name: str(value) for name, value in fields.items()}
    return TableKey(operation, DEVICE.name, is_eager=is_eager, **named)


def table(
    of: TableKey, points: Iterable[tuple[int, ...]], seconds: Callable[..., Floats]
) -> CostTable:
    """A table with the seconds that a function of the operation's dimensions gives."""
    rows = np.array(list(points), dtype=np.int64).reshape(-1, len(DIMENSIONS[of.operation]))
    return cost_table(of, rows, np.asarray(seconds(*rows.T.astype(np.float64))))


def reached(n: Floats | float, k: Floats | float) -> Floats:
    """The share of the peaks that the made-up products reach: more on larger matrices."""
    octaves = np.log2(np.asarray(n * k, dtype=np.float64)) - 24.0
    return 0.45 + 0.35 / (1.0 + np.exp(-octaves / 2.0))


def gemm_s(m: Floats | float, n: Floats | float, k: Floats | float) -> Floats:
    """A made-up product: an overhead, then its share of the peaks of the toy device."""
    sizes = np.broadcast_arrays(m, n, k)
    rows = zip(*(size.ravel().tolist() for size in sizes), strict=True)
    ideal = [float(ideal_s(Gemm(m, n, k, Dtype.BF16), DEVICE)) for m, n, k in rows]
    return OVERHEAD_S + np.reshape(ideal, sizes[0].shape) / reached(n, k)


def gemm_table(
    shapes: Iterable[tuple[int, int]],
    of: TableKey | None = None,
    tokens: Iterable[int] = TOKENS,
) -> CostTable:
    """Products of these shapes."""
    points = [(m, n, k) for m, (n, k) in product(tokens, shapes)]
    return table(of or key(), points, gemm_s)
