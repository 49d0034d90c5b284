"""The cost file: what is written reads back the same, and a bad row is named by its line."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.cost_file import COLUMNS, read_costs, write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import DIMENSIONS, CostTable, TableKey, cost_table
from tests.synthetic_tables import gemm_table, key

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
ORIGINS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def tables(draw: st.DrawFn) -> CostTable:
    """Any table: names with commas and quotes, origins of any text, numbers of all sizes."""
    operation = draw(st.sampled_from(sorted(DIMENSIONS)))
    device, dtype, source, version = (draw(NAMES) for _ in range(4))
    variant, is_eager = draw(st.just("") | NAMES), draw(st.booleans())
    of = TableKey(operation, device, dtype, source, version, variant, is_eager)
    sizes = st.tuples(*(st.integers(0, 10**12) for _ in DIMENSIONS[operation]))
    points = draw(st.lists(sizes, min_size=1, max_size=6, unique=True))
    seconds = [draw(st.floats(1e-9, 1e3)) for _ in points]
    spread = [draw(st.just(float("nan")) | st.floats(1e-6, 2.0)) for _ in points]
    return cost_table(
        of, np.array(points), np.array(seconds), spread=np.array(spread), origin=draw(ORIGINS)
    )


def rows_of(store: CostStore) -> list[tuple[TableKey, str, list[list[float]]]]:
    return [
        (
            table.key,
            " ".join(table.origin.split()),
            np.column_stack([table.points, table.seconds]).tolist(),
        )
        for table in store
    ]


@settings(max_examples=150, derandomize=True)
@given(found=st.lists(tables(), max_size=4), suffix=st.sampled_from([".csv", ".csv.gz"]))
def test_what_is_written_reads_back_the_same(found: list[CostTable], suffix: str) -> None:
    store = CostStore(found)
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / f"costs{suffix}", Path(folder) / f"again{suffix}"
        write_costs(store, path)
        read = read_costs(path)
        write_costs(read, again)
        assert rows_of(read) == rows_of(store)
        for one, other in zip(read, store, strict=True):
            np.testing.assert_array_equal(np.nan_to_num(one.spread), np.nan_to_num(other.spread))
        assert path.read_bytes() == again.read_bytes()


def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    of = key(variant="kv=fp8,kernel=fa3", is_eager=True)
    path = tmp_path / "costs.csv"
    write_costs([cost_table(of, np.array([[8, 64, 32]]), np.array([4.4e-6]), origin="a run")], path)
    assert path.read_text(encoding="utf-8").splitlines() == [
        "device,operation,dtype,source,version,variant,eager,point,seconds,spread,origin",
        'toy,gemm,bf16,vllm,0.24.0,"kv=fp8,kernel=fa3",1,m=8;n=64;k=32,4.4e-06,,a run',
    ]


def test_the_order_of_tables_makes_no_difference(tmp_path: Path) -> None:
    one, other = gemm_table([(64, 64)]), gemm_table([(64, 64)], key(source="sglang"))
    write_costs([one, other], tmp_path / "a.csv.gz")
    write_costs([other, one], tmp_path / "b.csv.gz")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.gz", "b.csv.gz"]


GOOD = "toy,gemm,bf16,vllm,0.24.0,,0,m=8;n=64;k=32,4.4e-06,0.01,a run"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (GOOD.replace("m=8;n=64;k=32", "m=8;n=64"), "like `m=8;n=8;k=8`"),
        (GOOD.replace("m=8;", "m=8.5;"), "point is `m=8.5;n=64;k=32`"),
        (GOOD.replace("m=8;", "m=-8;"), "point is"),
        (GOOD.replace("m=8;", "m=1234567890123456789;"), "point is"),
        (GOOD.replace("4.4e-06", "fast"), "seconds is `fast`"),
        (GOOD.replace("4.4e-06", "0"), "must be a number above 0"),
        (GOOD.replace("4.4e-06", "nan"), "seconds is `nan`"),
        (GOOD.replace("4.4e-06", "inf"), "seconds is `inf`"),
        (GOOD.replace("4.4e-06", ""), "seconds is ``"),
        (GOOD.replace("0.01", "-0.01"), "must be a number of at least 0"),
        (GOOD.replace("gemm", "gem"), "operation `gem` is unknown"),
        (GOOD.replace(",0,m", ",no,m"), "eager is `no`, and must be 0 or 1"),
        (GOOD.replace("toy", ""), "device is empty"),
        (GOOD.replace(",a run", ""), "10 cells, and must have 11"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, wrong: str, told: str) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("\n".join([",".join(COLUMNS), GOOD, wrong]) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_costs(path)
    assert f"`{path}`, line 3: " in raised.value.message
    assert told in raised.value.message
    assert raised.value.hint is not None


def test_a_good_row_with_zero_spread_is_read(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    row = GOOD.replace("0.01", "0")
    path.write_text("\n".join([",".join(COLUMNS), row, ""]), encoding="utf-8")
    (table,) = read_costs(path)
    assert (table.points.tolist(), table.seconds.tolist()) == ([[8, 64, 32]], [4.4e-6])


def test_what_is_no_cost_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("tokens,latency\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="no cost file: its first line is `tokens, latency`"):
        read_costs(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="no cost file"):
        read_costs(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="damaged or no text"):
        read_costs(path)


def test_a_missing_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv.gz"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_costs(path)
    write_costs([gemm_table([(64, 64), (128, 64)])], path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged or no text"):
        read_costs(path)
    path.write_bytes(gzip.compress(b"x")[:5])
    with pytest.raises(InputError, match="damaged or no text"):
        read_costs(path)
    path.write_text(",".join(COLUMNS), encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read: Not a gzipped file"):
        read_costs(path)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_costs([gemm_table([(64, 64)])], tmp_path / "nowhere" / "costs.csv")
    assert list(tmp_path.iterdir()) == []
