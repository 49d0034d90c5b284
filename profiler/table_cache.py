"""Cost tables kept between runs as plain arrays, so that a database is read once.

A cached file is found by what it was made from: the names, sizes and dates of the files read. It
holds the points of each operation in one array, its times in two more, and where tables begin.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LAYOUT = 1
"""Raised whenever what is imported, or how it is kept, changes: older files are then not found."""

FOLDER_VARIABLE = "SERVECAST_CACHE"


def cache_folder() -> Path:
    """Where caches are kept: the folder SERVECAST_CACHE names, or the platform's own."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("servecast"))


def cached_tables(
    name: str, sources: Sequence[Path], read: Callable[[], list[CostTable]]
) -> list[CostTable]:
    """The tables kept for these source files, or what `read` gives, which is then kept.

    A cache that is damaged, or a folder that cannot be written, costs time and nothing else.
    """
    path = cache_folder() / f"{name}-{_content(sources)}.npz"
    kept = _load(path)
    if kept is not None:
        return kept
    tables = read()
    _save(path, tables)
    return tables


def _content(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{LAYOUT} {DIMENSIONS}".encode())
    for source in sources:
        state = source.stat()
        digest.update(f"{source}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _load(path: Path) -> list[CostTable] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            index = json.loads(arrays["index"].tobytes())
            points = arrays["points"].astype(np.int64)
            seconds, spread = arrays["seconds"], arrays["spread"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return list(_cut(index, points, seconds, spread))


def _cut(
    index: Sequence[tuple[dict[str, Any], str, int]], points: Ints, seconds: Floats, spread: Floats
) -> Iterator[CostTable]:
    """Each table of the index: its key, its origin and its number of rows."""
    row = cell = 0
    for fields, origin, rows in index:
        key = TableKey(**fields)
        width = len(DIMENSIONS[key.operation])
        own = points[cell : cell + rows * width].reshape(rows, width)
        times = slice(row, row + rows)
        yield CostTable(key, own, seconds[times], spread[times], origin)
        row, cell = row + rows, cell + rows * width


def _save(path: Path, tables: Sequence[CostTable]) -> None:
    if not tables:
        return
    index = [(asdict(table.key), table.origin, len(table)) for table in tables]
    points = np.concatenate([table.points.ravel() for table in tables])
    narrow = points.astype(np.int32)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            partial,
            index=np.frombuffer(json.dumps(index).encode(), np.uint8),
            points=narrow if np.array_equal(narrow, points) else points,
            seconds=np.concatenate([table.seconds for table in tables]),
            spread=np.concatenate([table.spread for table in tables]),
        )
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
