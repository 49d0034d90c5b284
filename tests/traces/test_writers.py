from __future__ import annotations

import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.traces.prefixes import prefixes
from servecast.traces.readers import read
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from servecast.traces.writers import write

SUFFIXES = [".csv", ".csv.gz", ".jsonl", ".jsonl.gz"]


def workload(rows: list[tuple[int, int, int, int]], attribution: str = "") -> Workload:
    """Requests from (gap in ns, input, output, spare output) rows."""
    gaps_ns, inputs, outputs, spare = np.array(rows, np.int64).T
    arrival_ns = np.cumsum(gaps_ns) - gaps_ns[0]
    return Workload("w", arrival_ns, inputs, outputs, outputs + spare, attribution=attribution)


TOKENS = st.integers(1, 500_000_000)
ROWS = st.lists(
    st.tuples(st.integers(0, 10**16), TOKENS, TOKENS, st.integers(0, 10**8)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, suffix=st.sampled_from(SUFFIXES), credit=st.sampled_from(["", 'A, "b" ©', "x"]))
def test_what_is_written_reads_back_to_the_nanosecond(
    rows: list[tuple[int, int, int, int]], suffix: str, credit: str
) -> None:
    written = workload(rows, credit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w{suffix}"
        write(written, path)
        found = read(path)
    for column in ("arrival_ns", "prompt_tokens", "output_tokens", "max_tokens"):
        assert getattr(found, column).tolist() == getattr(written, column).tolist()
    assert (found.name, found.attribution) == ("w", credit)


def test_a_trace_is_plain_csv_that_any_reader_takes(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    write(workload([(0, 10, 3, 1), (1_500_000_001, 20, 7, 0)], "owed, to X"), path)
    assert path.read_text() == (
        "arrival_s,input_tokens,output_tokens,max_tokens,attribution\n"
        '0.0,10,3,4,"owed, to X"\n'
        "1.500000001,20,7,7,\n"
    )
    assert [len(row) for row in csv.reader(path.read_text().splitlines())] == [5, 5, 5]


def test_a_trace_is_plain_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    write(workload([(0, 10, 3, 1)]), path)
    assert path.read_text() == (
        '{"arrival_s": 0.0, "input_tokens": 10, "output_tokens": 3, "max_tokens": 4}\n'
    )


def test_the_same_workload_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv.gz", tmp_path / "other.csv.gz"
    for path in (one, other):
        write(workload([(0, 10, 3, 1)] * 100), path)
    assert one.read_bytes() == other.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    write(workload([(0, 10, 3, 1)]), path)
    before = path.read_bytes()
    torn = replace(workload([(0, 10, 3, 1)] * 3), max_tokens=np.ones(1, np.int64))
    with pytest.raises(ValueError, match="shorter"):
        write(torn, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.csv"]


def test_what_a_trace_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    one = workload([(0, 10, 3, 1)])
    with pytest.raises(InputError, match=r"w\.parquet.*one of \.csv, \.jsonl") as caught:
        write(one, tmp_path / "w.parquet")
    assert caught.value.hint == "name it w.csv.gz"
    with pytest.raises(InputError, match="closed loop of 8"):
        write(closed_loop(one, 8), tmp_path / "w.csv")
    empty = np.empty(0, np.int64)
    with pytest.raises(InputError, match="no requests to write"):
        write(Workload("w", empty, empty, empty, empty), tmp_path / "w.csv")
    with pytest.raises(InputError, match="folder does not exist") as caught:
        write(one, tmp_path / "new" / "w.csv")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'new'}"
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(one, tmp_path / "taken.csv")


def test_prefixes_are_read_back_from_jsonl_and_refused_as_csv(tmp_path: Path) -> None:
    known = prefixes(16, [[3, 4, 5, 9], [], [3, 4, 70]])
    shared = replace(workload([(0, 40, 3, 1), (1, 20, 7, 0), (2, 300, 7, 0)]), prefixes=known)
    write(shared, tmp_path / "w.jsonl.gz")
    found = read(tmp_path / "w.jsonl.gz").prefixes
    assert found is not None
    assert found.block_tokens == 16
    assert [found.extents(row) for row in range(3)] == [known.extents(row) for row in range(3)]
    with pytest.raises(InputError, match="begin alike") as caught:
        write(shared, tmp_path / "w.csv.gz")
    assert caught.value.hint == "name it w.jsonl.gz"
    assert not (tmp_path / "w.csv.gz").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_priorities_are_read_back(tmp_path: Path, suffix: str) -> None:
    plain = workload([(0, 40, 3, 1), (1, 20, 7, 0), (2, 300, 7, 0)], "owed, to X")
    urgent = replace(plain, priorities=np.array([0, -2, 7]))
    write(urgent, tmp_path / f"w{suffix}")
    found = read(tmp_path / f"w{suffix}")
    assert found.priorities is not None
    assert found.priorities.tolist() == [0, -2, 7]
    assert found.attribution == "owed, to X"
    write(plain, tmp_path / f"plain{suffix}")
    assert read(tmp_path / f"plain{suffix}").priorities is None
