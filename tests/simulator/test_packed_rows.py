"""A growing table of integers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.simulator.packed_rows import PackedRows

WORDS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS)))
def test_columns_hold_what_was_appended(rows: list[tuple[int, int, int]]) -> None:
    table = PackedRows(("first", "second", "third"))
    for row in rows:
        table.append(*row)
    assert len(table) == len(rows)
    columns = [table.column(name).tolist() for name in ("first", "second", "third")]
    assert list(zip(*columns, strict=True)) == rows


def test_an_empty_table_has_empty_columns() -> None:
    assert PackedRows(("only",)).column("only").dtype == np.int64
    assert len(PackedRows(("only",)).column("only")) == 0


@pytest.mark.parametrize("row", [(1,), (1, 2, 3)])
def test_a_row_of_another_length_is_refused(row: tuple[int, ...]) -> None:
    table = PackedRows(("first", "second"))
    with pytest.raises(struct.error):
        table.append(*row)
    assert len(table) == 0


def test_a_number_beyond_64_bits_is_refused_and_leaves_no_half_row() -> None:
    table = PackedRows(("first", "second"))
    with pytest.raises(struct.error):
        table.append(1, 2**63)
    assert len(table) == 0


def test_no_row_is_added_under_a_view() -> None:
    table = PackedRows(("only",))
    table.append(7)
    view = table.column("only")
    with pytest.raises(BufferError):
        table.append(8)
    del view
    table.append(8)
    assert table.column("only").tolist() == [7, 8]
