"""Rows of integers: how they sort, and which of them are equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def sorted_rows(rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The order that sorts `rows` by their columns, first one first, and where a new value begins.

    Equal rows keep their order. The second array belongs to the sorted rows: False where a row
    equals the one before it.
    """
    order = np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))
    in_order = rows[order]
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    return order, is_new


def row_ids(rows: Rows) -> NDArray[np.intp]:
    """A number for each row, the same for equal rows and counting up in their sorted order."""
    order, is_new = sorted_rows(rows)
    ids = np.empty(len(rows), np.intp)
    ids[order] = np.cumsum(is_new) - 1
    return ids
