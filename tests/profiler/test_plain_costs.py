"""A user's own measurements: a CSV, read to tables or refused line by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.profiler import read_plain_costs

HEADER = "operation,device,dtype,m,n,k,payload_elements,ranks,microseconds"
GOOD = "gemm,h100_sxm,bf16,1,4096,4096,,,12.5"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "costs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_plain_costs(path)
    return caught.value


def test_rows_become_a_table_for_each_operation(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, GOOD, "all_reduce,H100,bf16,,,,1024,8,20")
    reduce, gemm = read_plain_costs(path)
    assert (reduce.key.operation, reduce.key.device) == ("all_reduce", "h100_sxm")
    assert reduce.points.tolist() == [[1024, 8]]
    assert gemm.points.tolist() == [[1, 4096, 4096]]
    assert gemm.seconds == pytest.approx([12.5e-6])
    assert (gemm.key.source, gemm.key.is_eager, gemm.origin) == ("user", False, "costs.csv")


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *(("seconds", "0.001"), ("milliseconds", "1"), ("microseconds", "1e3")),
        ("nanoseconds", "1000000"),
    ],
)
def test_the_column_names_the_unit(tmp_path: Path, column: str, cell: str) -> None:
    header = f"operation,device,dtype,tokens,heads,{column}"
    (table,) = read_plain_costs(write(tmp_path, header, f"mla_bmm,h200_sxm,bf16,8,16,{cell}"))
    assert table.seconds == pytest.approx([1e-3])


def test_source_variant_and_spread_may_be_said(tmp_path: Path) -> None:
    header = "operation,device,dtype,m,n,k,seconds,source,version,variant,is_eager,spread"
    row = 'gemm,l40s,fp8,1,8,8,0.5,vllm,0.32.0,"scaling=block,kernel=mine",yes,0.25'
    (table,) = read_plain_costs(write(tmp_path, header, row))
    assert (table.key.source, table.key.version) == ("vllm", "0.32.0")
    assert table.key.traits == {"scaling": "block", "kernel": "mine"}
    assert table.key.is_eager
    assert table.spread.tolist() == [0.25]


def test_no_window_and_no_past_are_zero(tmp_path: Path) -> None:
    header = "operation,device,dtype,batch,new_tokens,heads,kv_heads,head_dim,window,seconds"
    row = "prefill_attention,h100_sxm,bf16,1,512,32,8,128,,0.001"
    (table,) = read_plain_costs(write(tmp_path, header, row))
    assert table.points.tolist() == [[1, 512, 0, 32, 8, 128, 0]]


def test_repeats_are_averaged(tmp_path: Path) -> None:
    (table,) = read_plain_costs(write(tmp_path, HEADER, GOOD, GOOD.replace("12.5", "7.5")))
    assert table.seconds == pytest.approx([10e-6])
    assert table.spread == pytest.approx([0.25])


def test_a_negative_spread_is_refused(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, HEADER + ",spread", GOOD + ",-0.1"))
    assert "spread is `-0.1`, and must be a number, 0 or more" in error.message


def test_a_gzip_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}\n".encode()))
    (table,) = read_plain_costs(path)
    assert np.isnan(table.spread).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("gemn,h100_sxm,bf16,1,8,8,,,1", "operation `gemn` is unknown"),
        ("gemm,h1000,bf16,1,8,8,,,1", "GPU `h1000` is unknown"),
        ("gemm,h100_sxm,bf17,1,8,8,,,1", "dtype `bf17` is unknown"),
        ("gemm,h100_sxm,bf16,x,8,8,,,1", "m is `x`, and must be a whole number"),
        ("gemm,h100_sxm,bf16,,8,8,,,1", "m is ``, and must be a whole number"),
        ("gemm,h100_sxm,bf16,-1,8,8,,,1", "m is `-1`, and must be a whole number"),
        ("gemm,h100_sxm,bf16,1,8,8,7,,1", "payload_elements is `7`, and must be empty: gemm has"),
        ("gemm,h100_sxm,bf16,1,8,8,,,0", "microseconds is `0`, and must be a positive number"),
        ("gemm,h100_sxm,bf16,1,8,8,,,nan", "microseconds is `nan`, and must be a positive"),
        ("gemm,h100_sxm,bf16,1,8,8,1", "the row has 7 cells, and the header 9"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    error = refusal(write(tmp_path, HEADER, GOOD, "", row))
    assert f"costs.csv` line 4: {message}" in error.message
    assert error.hint


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    rows = [GOOD, GOOD.replace("bf16", "bf15"), GOOD.replace("gemm", "gemn"), GOOD]
    error = refusal(write(tmp_path, HEADER, *rows))
    assert "has 2 bad lines" in error.message
    assert "\n  line 3: dtype `bf15` is unknown" in error.message
    assert "\n  line 4: operation `gemn` is unknown" in error.message


def test_an_unknown_truth_is_refused(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, HEADER + ",is_eager", GOOD + ",maybe"))
    assert "is_eager is `maybe`, and must be true or false" in error.message


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("operation,device,dtype,mm,seconds", "column `mm` is unknown"),
        ("operation,device,dtype,m,n,k", "one of seconds, milliseconds"),
        ("operation,device,dtype,m,seconds,milliseconds", "one of seconds, milliseconds"),
        ("device,dtype,m,n,k,seconds", "must have once each operation, device, dtype"),
        ("operation,device,dtype,m,m,seconds", "must have once each"),
    ],
)
def test_a_bad_header_is_refused(tmp_path: Path, header: str, message: str) -> None:
    error = refusal(write(tmp_path, header, "a,b,c,1,1,1"))
    assert "costs.csv" in error.message
    assert message in error.message


def test_an_empty_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    assert "is empty" in refusal(write(tmp_path, "")).message
    assert "No such file" in refusal(tmp_path / "other.csv").message
