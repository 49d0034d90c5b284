"""From groups of rows to cost tables: which version speaks for a shape, which kernels belong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from servecast.primitives.cost_store import version_order
from servecast.primitives.cost_table import (
    DIMENSIONS,
    CostTable,
    TableKey,
    cost_table,
    variant_of,
)
from servecast.primitives.rows import row_ids
from servecast.profiler.aic_layout import Group

_SIZES = frozenset(
    {"m", "batch", "new_tokens", "past_tokens", "context_tokens", "tokens", "payload_elements"}
)
"""Dimensions along which one shape has a curve; the others say which shape it is."""

_UNGATED = "nongated"
"""Kernels for experts of two matrices: at equal sizes they compute a third less."""


def cost_tables(
    device: str, groups: Iterable[Group], current: Mapping[str, str]
) -> Iterator[CostTable]:
    """The tables of one device, from all groups of rows that were read.

    A shape's whole curve is taken from one version of its source: the `current` one, and where
    that lacks the shape, the newest that has it; versions stay apart by their keys.
    """
    for versions in _by_version(groups):
        source = versions[0][0].file.source
        versions.sort(key=lambda of: version_order(of[0].file.version), reverse=True)
        versions.sort(key=lambda of: of[0].file.version != current.get(source))
        for kept in _filled(versions):
            for joined in _kernels(kept):
                yield _table(device, joined)


def _by_version(groups: Iterable[Group]) -> Iterator[list[list[Group]]]:
    """Groups of one kind, in one source, as a list for each version."""
    found: dict[object, dict[str, list[Group]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        ungated = _UNGATED in group.kernel
        found[group.kind, group.file.source, ungated][group.file.version].append(group)
    for versions in found.values():
        yield list(versions.values())


def _filled(versions: Sequence[list[Group]]) -> Iterator[list[Group]]:
    """Of each version, the rows of shapes that none before it has."""
    if len(versions) == 1:
        yield versions[0]
        return
    flat = [group for groups in versions for group in groups]
    names = DIMENSIONS[flat[0].kind.operation]
    fixed = [column for column, name in enumerate(names) if name not in _SIZES]
    shapes = row_ids(np.concatenate([group.points[:, fixed] for group in flat]))
    ends = np.cumsum([len(group.seconds) for group in flat])
    parts = iter(np.split(shapes, ends[:-1]))
    seen = np.zeros(shapes.max() + 1, np.bool_)
    for groups in versions:
        own = [next(parts) for _ in groups]
        kept = [_rows(group, ~seen[part]) for group, part in zip(groups, own, strict=True)]
        seen[np.concatenate(own)] = True
        if rest := [group for group in kept if len(group.seconds)]:
            yield rest


def _rows(group: Group, which: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Group:
    if which.all():
        return group
    return replace(group, points=group.points[which], seconds=group.seconds[which])


def _kernels(groups: list[Group]) -> Iterator[list[Group]]:
    """Kernels that never met at one point are joined: the engine chose among them by size.

    Those that did meet are alternatives, of which no average means anything: a table each.
    """
    groups = sorted(groups, key=lambda group: (-len(group.seconds), group.kernel))
    rivals = _rivals(groups)
    if joined := [group for group in groups if group.kernel not in rivals]:
        yield joined
    for group in groups:
        if group.kernel in rivals:
            yield [group]


def _rivals(groups: Sequence[Group]) -> set[str]:
    """Kernels that share a point with another."""
    if len(groups) == 1:
        return set()
    ids = row_ids(np.concatenate([group.points for group in groups]))
    parts = np.split(ids, np.cumsum([len(group.seconds) for group in groups])[:-1])
    rivals: set[str] = set()
    for (one, own), (other, others) in combinations(zip(groups, parts, strict=True), 2):
        if np.isin(own, others, assume_unique=False).any():
            rivals |= {one.kernel, other.kernel}
    return rivals


def _table(device: str, groups: Sequence[Group]) -> CostTable:
    kind, file = groups[0].kind, groups[0].file
    traits = dict(kind.traits) | {"kernel": "+".join(group.kernel for group in groups)}
    key = TableKey(
        kind.operation,
        device,
        kind.dtype,
        file.source,
        file.version,
        variant_of(traits),
        kind.is_eager,
    )
    points = np.concatenate([group.points for group in groups])
    seconds = np.concatenate([group.seconds for group in groups])
    return cost_table(key, points, seconds, origin=file.origin)
