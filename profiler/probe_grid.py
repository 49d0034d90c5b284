"""The coarse grid that every shape is measured on first, and what lies between two of its points.

Sizes are those that engines replay CUDA graphs at and cut prompts into, a factor of four to eight
apart. What lies between is measured where it is found to be needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from servecast.primitives.cost_table import DIMENSIONS, TableKey, variant_of
from servecast.primitives.table_kinds import BEYOND
from servecast.primitives.table_preferences import OWN
from servecast.profiler.probe import COLLECTIVES, GROWING, Probe
from servecast.profiler.probe_site import ProbeSite

COARSE: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "gemm": ((1, 4, 16, 64, 256, 1024, 4096, 16384),),
    "prefill_attention": ((0, 2048, 8192, 32768), (16, 128, 512, 2048, 8192)),
    "decode_attention": ((1, 4, 16, 64, 256), (128, 1024, 8192, 65536)),
    "verify_attention": ((1, 4, 16, 64), (256, 2048, 16384)),
    "mixed_attention": ((1, 16, 64), (128, 512, 2048)),
    "block_sparse_attention": ((5, 20, 50, 100), (2048, 8192, 32768, 131072)),
    "mla_prefill": ((0, 2048, 8192, 32768), (16, 128, 512, 2048, 8192)),
    "mla_decode": ((1, 4, 16, 64, 256), (128, 1024, 8192, 65536)),
    "moe": ((1, 8, 64, 512, 4096, 16384),),
    "elementwise": ((1, 16, 256, 4096, 16384),),
    "sampling": ((1, 4, 16, 64, 256),),
    "host_copy": ((2**16, 2**20, 2**24, 2**28, 2**30),),
    "model_step": ((1, 8, 32, 128), (512, 2048, 8192)),
    **dict.fromkeys(COLLECTIVES, ((2**10, 2**14, 2**18, 2**22, 2**26),)),
}
"""Values of each growing size, by operation."""

NARROW, SHORT = 1.25, 64
"""An interval is split no more once its ends are this factor apart; from 0, once it ends here."""


def coarse_grid(sites: Sequence[ProbeSite], device: str, version: str) -> list[Probe]:
    """The probes of the coarse grid, small ones of all shapes first."""
    steps: list[tuple[int, int, Probe]] = []
    for place, site in enumerate(sites):
        variant = variant_of(dict(site.traits))
        key = TableKey(site.operation, device, site.dtype, OWN, version, variant)
        axes = _axes(site)
        for indices in product(*(range(len(axis)) for axis in axes)):
            values = (axis[index] for axis, index in zip(axes, indices, strict=True))
            sizes = {**dict(site.sizes), **dict(zip(GROWING[site.operation], values, strict=True))}
            point = tuple(sizes[name] for name in DIMENSIONS[site.operation])
            steps.append((sum(indices), place, Probe(key, point)))
    return [probe for _, _, probe in sorted(steps, key=lambda step: step[:2])]


def _axes(site: ProbeSite) -> tuple[tuple[int, ...], ...]:
    """The values of each growing size; a window hides what lies further back."""
    axes, window = COARSE[site.operation], dict(site.sizes).get("window", 0)
    if not window:
        return axes
    rows, columns = axes
    if site.operation == "decode_attention":
        return rows, (window // 8, window // 2, window + BEYOND)
    return (0, window - 1), columns


def between(low: int, high: int) -> int | None:
    """A size to measure between two others, round as sizes are; None where they are near enough."""
    if low == 0:
        return high // 4 if high > SHORT else None
    if high / low <= NARROW:
        return None
    middle = math.sqrt(low * high)
    step = 16 if middle >= 64 else 8 if middle >= 16 else 1
    size = step * round(middle / step)
    return size if low < size < high else None


def counts(probes: Iterable[Probe]) -> dict[str, tuple[int, int]]:
    """Shapes and points by operation."""
    shapes: dict[str, set[tuple[object, ...]]] = {}
    points: dict[str, int] = {}
    for probe in probes:
        name = probe.key.operation
        fixed = tuple(size for key, size in probe.sizes.items() if key not in GROWING[name])
        shapes.setdefault(name, set()).add((probe.key.variant, fixed))
        points[name] = points.get(name, 0) + 1
    return {name: (len(shapes[name]), points[name]) for name in points}
