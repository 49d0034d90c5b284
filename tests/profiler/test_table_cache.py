"""Imported tables are kept, found again while their files are the same, and never required."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from servecast.primitives.cost_table import CostTable, TableKey, cost_table
from servecast.profiler.table_cache import cached_tables

GEMM = TableKey("gemm", "h200_sxm", "fp8", "vllm", "0.24.0", "scaling=block,kernel=a", True)
REDUCE = TableKey("all_reduce", "h200_sxm", "bf16", "nccl", "2.29.2")


def tables() -> list[CostTable]:
    points = np.array([[1, 4096, 8], [2, 4096, 8], [2, 4096, 8]])
    big = np.array([[2**40, 8], [1, 2]])
    return [
        cost_table(GEMM, points, np.array([1e-5, 2e-5, 3e-5]), origin="a file"),
        cost_table(REDUCE, big, np.array([1e-3, 1e-6]), origin="another"),
    ]


class Reader:
    """Counts how often tables had to be read."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> list[CostTable]:
        self.times += 1
        return tables()


def same(one: list[CostTable], other: list[CostTable]) -> bool:
    return all(
        a.key == b.key
        and a.origin == b.origin
        and np.array_equal(a.points, b.points)
        and a.points.dtype == b.points.dtype
        and np.array_equal(a.seconds, b.seconds)
        and np.array_equal(a.spread, b.spread, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"1234")
    return path


def test_what_is_kept_is_what_was_read(source: Path) -> None:
    reader = Reader()
    first = cached_tables("h200_sxm", [source], reader)
    second = cached_tables("h200_sxm", [source], reader)
    assert reader.times == 1
    assert same(first, tables())
    assert same(second, tables())


def test_a_file_that_changed_is_read_again(source: Path) -> None:
    reader = Reader()
    cached_tables("h200_sxm", [source], reader)
    os.utime(source, ns=(1, 1))
    cached_tables("h200_sxm", [source], reader)
    assert reader.times == 2


def test_other_files_and_other_devices_have_caches_of_their_own(source: Path) -> None:
    reader = Reader()
    other = source.with_name("b.parquet")
    other.write_bytes(b"1234")
    for name, files in (("h200_sxm", [source]), ("h200_sxm", [source, other]), ("l40s", [source])):
        cached_tables(name, files, reader)
    assert reader.times == 3


def test_a_damaged_cache_is_written_anew(source: Path, cache: Path) -> None:
    reader = Reader()
    cached_tables("h200_sxm", [source], reader)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert same(cached_tables("h200_sxm", [source], reader), tables())
    cached_tables("h200_sxm", [source], reader)
    assert reader.times == 2


def test_a_folder_that_cannot_be_written_costs_time_only(source: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    reader = Reader()
    assert same(cached_tables("h200_sxm", [source], reader), tables())
    assert same(cached_tables("h200_sxm", [source], reader), tables())
    assert reader.times == 2


def test_nothing_but_the_cache_is_left_in_its_folder(source: Path, cache: Path) -> None:
    cached_tables("h200_sxm", [source], Reader())
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
