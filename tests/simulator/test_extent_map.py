"""Pieces of block ids: cut from chains, and what others leave of them."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from servecast.simulator.extent_map import Piece, pieces, without

RUNS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=5)


def ids(run: Iterable[Piece]) -> list[int]:
    return [block for first, length in run for block in range(first, first + length)]


@given(run=RUNS, others=RUNS)
def test_what_is_left_of_a_run_is_what_no_other_covers_in_its_order(
    run: list[Piece], others: list[Piece]
) -> None:
    covered = set(ids(others))
    left = without(run, others)
    assert ids(left) == [block for block in ids(run) if block not in covered]
    assert all(length > 0 for _, length in left)


@given(chain=RUNS, start=st.integers(0, 12), blocks=st.integers(0, 20))
def test_pieces_are_a_part_of_the_chain(chain: list[Piece], start: int, blocks: int) -> None:
    assert ids(pieces(chain, start, start + blocks)) == ids(chain)[start : start + blocks]
