"""Draws by seed, request and position: alike one by one and at once, even, and apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.draws import all_drawn, drawn

ANY = st.integers(0, 10**6)


@given(seed=ANY, request=ANY, first=ANY, count=st.integers(0, 40))
def test_many_at_once_are_those_one_by_one(seed: int, request: int, first: int, count: int) -> None:
    apart = [drawn(seed, request, at) for at in range(first, first + count)]
    assert all_drawn(seed, request, first, first + count).tolist() == apart


def test_they_are_even_and_know_nothing_of_their_neighbours() -> None:
    rows = np.array([all_drawn(0, request, 0, 1000) for request in range(100)])
    counts, _ = np.histogram(rows, bins=20, range=(0, 1))
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8  # 0.1 % of chi-squared, 19 degrees
    assert abs(np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]) < 0.01
    assert not np.array_equal(rows[0], all_drawn(1, 0, 0, 1000))
