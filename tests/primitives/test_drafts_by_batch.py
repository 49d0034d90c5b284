"""Drafts by batch size: which are refused, and what holds between the ranges that are stated."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.primitives.drafts_by_batch import Ranges, check_ranges, drafts_at


def test_a_range_holds_on_until_the_next_one_and_the_last_to_the_end() -> None:
    ranges = ((5, 6, 0), (1, 2, 3))
    assert list(drafts_at(ranges, 8, 8)) == [0, 3, 3, 3, 3, 0, 0, 0, 0]


def test_no_step_drafts_more_than_the_most() -> None:
    assert list(drafts_at(((1, 2, 9), (3, 3, 1)), 4, 3)) == [0, 4, 4, 1]


def test_ranges_beyond_the_largest_batch_say_nothing() -> None:
    assert list(drafts_at(((1, 64, 2), (65, 128, 1)), 4, 3)) == [0, 2, 2, 2]


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        (((2, 4, 1),), "begins at a batch of 2"),
        (((1, 4, 1), (4, 8, 0)), "from 4 to 8 behind one that ends at 4"),
        (((1, 4, 1), (9, 8, 0)), "from 9 to 8"),
        (((1, 4, -1),), "has -1 drafts"),
    ],
)
def test_what_vllm_refuses_is_refused(ranges: Ranges, told: str) -> None:
    with pytest.raises(InputError, match=told):
        check_ranges(ranges)


def test_ranges_in_any_order_with_gaps_are_taken() -> None:
    check_ranges(((65, 128, 1), (1, 16, 3)))
