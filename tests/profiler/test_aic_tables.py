"""Which version speaks for a shape, and which kernels make one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aic_database import Database, experts, gemm


@pytest.fixture
def database(tmp_path: Path) -> Database:
    pytest.importorskip("pyarrow")
    return Database(tmp_path)


def test_the_current_version_speaks_before_older_and_newer_ones(database: Database) -> None:
    for version, latency in (("0.19.0", 0.019), ("0.24.0", 0.024), ("0.27.0", 0.027)):
        database.add("gemm_perf", [gemm(1, latency)], version=version)
    table = database.only()
    assert (table.key.version, table.seconds.tolist()) == ("0.24.0", [24e-6])


def test_what_it_lacks_comes_from_the_newest_that_has_it(database: Database) -> None:
    wide, wider = {"inter_size": 1024}, {"inter_size": 4096}
    database.add("moe_perf", [experts(1)])
    database.add("moe_perf", [experts(1), experts(1, **wide), experts(1, **wider)], version="0.9.0")
    database.add("moe_perf", [experts(1), experts(1, **wide)], version="0.19.0")
    widths = {t.key.version: t.points[:, 2].tolist() for t in database.tables()}
    assert widths == {"0.24.0": [768], "0.19.0": [1024], "0.9.0": [4096]}


def test_a_curve_is_never_put_together_from_two_versions(database: Database) -> None:
    database.add("gemm_perf", [gemm(1), gemm(64)])
    database.add("gemm_perf", [gemm(1), gemm(16), gemm(4096)], version="0.19.0")
    assert database.only().points[:, 0].tolist() == [1, 64]


def test_a_system_may_have_current_versions_of_its_own(database: Database) -> None:
    for version in ("0.14.0", "0.24.0"):
        database.add("gemm_perf", [gemm(1)], version=version, system="a100_sxm")
    assert database.only("a100_sxm_80gb").key.version == "0.14.0"


def test_a_library_without_a_current_version_is_taken_newest_first(database: Database) -> None:
    row = {"kernel_source": "NCCL", "nccl_dtype": "half", "op_name": "all_reduce", "num_gpus": 8}
    for version in ("2.9.0", "2.29.2", "2.27"):
        rows = [row | {"message_size": 1024, "latency": 0.01}]
        database.add("nccl_perf", rows, family="comm", source="nccl", version=version)
    assert database.only().key.version == "2.29.2"


def test_kernels_that_share_the_sizes_between_them_are_one_table(database: Database) -> None:
    rows = [gemm(1, kernel_source="small"), gemm(64, kernel_source="large"), gemm(128)]
    database.add("gemm_perf", rows)
    table = database.only()
    assert table.key.traits["kernel"].split("+") == ["cublas", "large", "small"]
    assert table.points[:, 0].tolist() == [1, 64, 128]


def test_kernels_that_met_at_a_point_are_never_averaged(database: Database) -> None:
    rows = [gemm(1, 0.01, kernel_source="one"), gemm(1, 0.03, kernel_source="two")]
    database.add("gemm_perf", [*rows, gemm(64, 0.05)])
    seconds = {t.key.traits["kernel"]: t.seconds.tolist() for t in database.tables()}
    assert seconds == {"one": [1e-5], "two": [3e-5], "cublas": [5e-5]}


def test_experts_without_a_gate_are_other_experts(database: Database) -> None:
    narrow = experts(1, kernel_source="flow_nongated", inter_size=512)
    database.add("moe_perf", [experts(1), narrow], source="trtllm")
    assert {t.key.traits["kernel"] for t in database.tables()} == {"triton", "flow_nongated"}
