"""What is suspicious about measured tables: findings to read, none of them an error by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import CostTable, TableKey, variant_of
from servecast.primitives.envelope import envelope
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.rows import row_ids
from servecast.primitives.sites import alike
from servecast.primitives.table_kinds import KINDS, operation_of, resized, rows
from servecast.primitives.utilisation import FASTEST

SMALL_M, LAUNCH_S, LAUNCH_RATIO = 16, 20e-6, 4.0
"""A table of products holds launches when no m up to this one takes less than so many seconds, and
the smallest sibling's least is so many times less. On the AIConfigurator tables it finds the eight
of vLLM's block-scaled products, which were timed outside CUDA graphs, and no other."""

SIBLING_M, SIBLING_RATIO = 64, 1.4
"""How much slower than the fastest sibling products of up to this m may be, at the median."""

SPIKE = 1.25
"""How far above a later point of its curve a point may lie."""

SLOWEST = 1e-4
"""Below this share of the device's peaks throughout, times are in another unit."""

GROWING = frozenset(
    {"m", "tokens", "batch", "sequences", "new_tokens", "past_tokens", "context_tokens",
     "payload_elements", "queries", "density_percent", "bytes", "layers"}
)  # fmt: skip
"""Dimensions of which more is more work at the same site."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one table that its reader should know."""

    key: TableKey
    rule: str
    message: str


def findings(tables: Iterable[CostTable], devices: Mapping[str, Accelerator]) -> list[Finding]:
    """Everything suspicious about the tables; units are checked where the device is among these."""
    held = list(tables)
    found = [*launch_bound(held), *slow_siblings(held)]
    for table in held:
        device = devices.get(table.key.device)
        found += [*spikes(table), *(unit_slips(table, device) if device else ())]
    return found


def launch_bound(tables: Iterable[CostTable]) -> list[Finding]:
    """Tables of matrix products whose small ones hold the launch, not the kernel."""
    found: list[Finding] = []
    for rivals in _rivals(tables):
        for table in rivals:
            own = _least(table)
            others = min(map(_least, _siblings(table, rivals)), default=np.inf)
            if np.isfinite(own) and own > LAUNCH_S and own > LAUNCH_RATIO * others:
                message = f"products of m up to {SMALL_M} take {own * 1e6:.0f} µs or more"
                message += f", a sibling's {others * 1e6:.0f} µs"
                found.append(Finding(table.key, "launch bound", message))
    return found


def slow_siblings(tables: Iterable[CostTable]) -> list[Finding]:
    """Tables of matrix products that are slower throughout than another source's, at small m."""
    found: list[Finding] = []
    for rivals in _rivals(tables):
        for table in rivals:
            ratios = [_ratio(table, other) for other in _siblings(table, rivals)]
            worst = max(ratios, default=0.0)
            if worst > SIBLING_RATIO:
                message = f"products of m up to {SIBLING_M} take {worst:.1f} times a sibling's"
                found.append(Finding(table.key, "slow sibling", message))
    return found


def spikes(table: CostTable) -> list[Finding]:
    """Points above a later point of their own curve: noise, or a kernel badly chosen."""
    if table.key.operation not in KINDS:
        return []
    excess = table.seconds / monotone_envelope(table).seconds
    places = np.flatnonzero(excess > SPIKE)
    if not len(places):
        return []
    worst = int(places[np.argmax(excess[places])])
    point = zip(table.dimensions, table.points[worst].tolist(), strict=True)
    message = f"{len(places)} of {len(table)} points are above a later one; the worst "
    message += f"{excess[worst]:.1f} times, at {';'.join(f'{name}={size}' for name, size in point)}"
    return [Finding(table.key, "spikes", message)]


def unit_slips(table: CostTable, device: Accelerator) -> list[Finding]:
    """Tables whose every point beats the device's peaks, or reaches next to nothing of them."""
    kind = KINDS.get(table.key.operation)
    if kind is None:
        return []
    shape = operation_of(table.key)
    sites, at, seconds = rows(table, kind)
    reached = np.empty(len(seconds))
    for own in alike(sites):
        site = tuple(sites[own[0]].tolist())
        reached[own] = ideal_s(resized(shape, site, tuple(at[own].T)), device) / seconds[own]
    message = (
        f"all points reach {reached.min():.1e} to {reached.max():.1e} of {device.name}'s peaks"
    )
    is_slip = reached.min() > FASTEST or reached.max() < SLOWEST
    return [Finding(table.key, "unit slip", message)] if is_slip else []


def monotone_envelope(table: CostTable) -> CostTable:
    """The table with each point lowered to the least of those with as much work or more."""
    grows = np.array([name in GROWING for name in table.dimensions])
    at = table.points[:, grows].astype(np.float64)
    seconds = table.seconds.copy()
    for own in alike(table.points[:, ~grows]):
        seconds[own] = envelope(at[own], seconds[own])
    return replace(table, seconds=seconds)


def _rivals(tables: Iterable[CostTable]) -> Iterator[list[CostTable]]:
    """Tables of matrix products that differ in nothing but whose kernel it is."""
    found: dict[tuple[str, ...], list[CostTable]] = defaultdict(list)
    for table in tables:
        if table.key.operation == "gemm":
            traits = {name: value for name, value in table.key.traits.items() if name != "kernel"}
            found[table.key.device, table.key.dtype, variant_of(traits)].append(table)
    yield from found.values()


def _siblings(table: CostTable, rivals: Iterable[CostTable]) -> list[CostTable]:
    return [other for other in rivals if other.key.source != table.key.source]


def _least(table: CostTable) -> float:
    small = table.seconds[table.points[:, 0] <= SMALL_M]
    return float(small.min(initial=np.inf))


def _ratio(table: CostTable, other: CostTable) -> float:
    """The median of this one's seconds over the other's, at the small points that both have."""
    small = table.points[:, 0] <= SIBLING_M
    ids = row_ids(np.concatenate([table.points[small], other.points]))
    count = int(small.sum())
    _, own, others = np.intersect1d(ids[:count], ids[count:], return_indices=True)
    if not len(own):
        return 0.0
    return float(np.median(table.seconds[small][own] / other.seconds[others]))
