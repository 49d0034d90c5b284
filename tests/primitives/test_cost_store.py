"""The cost store: what is kept apart, what is joined, and what is found first."""

from __future__ import annotations

import numpy as np

from servecast.primitives.cost_store import CostStore, version_order
from servecast.primitives.cost_table import CostTable, TableKey, cost_table
from tests.synthetic_tables import key


def one_row(of: TableKey, seconds: float, m: int = 8) -> CostTable:
    return cost_table(of, np.array([[m, 64, 64]]), np.array([seconds]), origin=f"run of {seconds}")


def test_versions_stay_apart() -> None:
    old, new = one_row(key(version="0.9.0"), 1e-5), one_row(key(version="0.10.0"), 2e-5)
    found = CostStore([old, new]).find("gemm", "toy")
    assert [table.key.version for table in found] == ["0.10.0", "0.9.0"]


def test_tables_of_one_key_are_joined_and_points_of_both_averaged() -> None:
    store = CostStore([one_row(key(), 1e-5), one_row(key(), 3e-5), one_row(key(), 4e-5, m=16)])
    (table,) = store
    assert table.points[:, 0].tolist() == [8, 16]
    np.testing.assert_allclose(table.seconds, [2e-5, 4e-5])
    np.testing.assert_allclose(table.spread, [0.5, np.nan])
    assert table.origin == "run of 1e-05 + run of 3e-05 + run of 4e-05"


def test_a_store_takes_the_tables_of_another() -> None:
    store = CostStore([one_row(key(), 1e-5)])
    store.merge(CostStore([one_row(key(), 3e-5), one_row(key("gemm", dtype="fp8"), 1e-6)]))
    assert len(store) == 2
    assert store.find("gemm", "toy", dtype="bf16")[0].seconds.tolist() == [2e-5]
    assert store.devices() == ("toy",)


def test_tables_are_found_by_what_is_given_of_their_keys() -> None:
    keys = [key(), key(source="sglang"), key(dtype="fp8"), key(version="0.19.0")]
    store = CostStore(one_row(each, 1e-5) for each in keys)
    assert len(store.find("gemm", "toy")) == 4
    assert len(store.find("gemm", "toy", dtype="bf16")) == 3
    (found,) = store.find("gemm", "toy", source="vllm", dtype="bf16", version="0.19.0")
    assert found.key.version == "0.19.0"
    assert store.find("gemm", "h100_sxm") == []
    assert store.find("moe", "toy") == []


def test_of_one_version_the_larger_table_comes_first() -> None:
    small, large = key(variant="kernel=a"), key(variant="kernel=b")
    store = CostStore([one_row(small, 1e-5), one_row(large, 1e-5), one_row(large, 1e-5, m=16)])
    assert [table.key.variant for table in store.find("gemm", "toy")] == ["kernel=b", "kernel=a"]


def test_versions_sort_by_their_numbers() -> None:
    versions = ["0.5.6.post2", "0.5.14", "0.10.0", "1.3.0rc20", "0.5.9"]
    ordered = sorted(versions, key=version_order)
    assert ordered == ["0.5.6.post2", "0.5.9", "0.5.14", "0.10.0", "1.3.0rc20"]
