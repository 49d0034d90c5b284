"""What is suspicious about measured tables: findings to read, none of them an error by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost_table import CostTable, TableKey, variant_of
from servecast.primitives.envelope import envelope
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.rows import sorted_rows
from servecast.primitives.table_kinds import KINDS, operation_of, resized
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


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one table that its reader should know."""

    key: TableKey
    rule: str
    message: str


def findings(
    tables: Iterable[CostTable], devices: Mapping[str, Accelerator]
) -> list[Finding]:
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
        least = [_least(table) for table in rivals]
        for place, table in enumerate(rivals):
            others = min(least[:place] + least[place + 1 :], default=np.inf)
            if least[place] > LAUNCH_S and least[place] > LAUNCH_RATIO * others:
                message = f"products of m up to {SMALL_M} take {least[place] * 1e6:.0f} µs or more"
                message += f", a sibling's {others * 1e6:.0f} µs"
                found.append(Finding(table.key, "launch bound", message))
    return found


def slow_siblings(tables: Iterable[CostTable]) -> list[Finding]:
    """Tables of matrix products that are slower throughout than another source's, at small m."""
    found: list[Finding] = []
    for rivals in _rivals(tables):
        for table in rivals:
            ratios = [_ratio(table, other) for other in rivals if other is not table]
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
    columns = dict(zip(table.dimensions, table.points.T, strict=True))
    shape = operation_of(table.key)
    reached = np.array([
        float(ideal_s(resized(shape, tuple(site), tuple(at)), device)) for site, at in zip((), ())
    ])
    return [] if len(columns) and len(reached) else []
