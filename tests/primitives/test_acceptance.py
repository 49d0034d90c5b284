"""Forms of acceptance: what they are by position, and how many tokens a step then brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.acceptance import constant, decaying, tokens_per_step


def test_each_further_draft_is_accepted_that_much_less_often() -> None:
    found = decaying(0.8, 0.5, 3)
    assert found == pytest.approx((0.8, 0.8 * 0.4, 0.8 * 0.4 * 0.2))
    assert decaying(0.8, 0.5, 0) == ()


def test_drafts_that_get_easier_are_never_surer_than_sure() -> None:
    assert decaying(0.5, 4.0, 3) == (0.5, 0.5, 0.5)


@given(first=st.floats(0, 1), decay=st.floats(0.01, 3), positions=st.integers(0, 16))
def test_acceptance_falls_from_at_most_one(first: float, decay: float, positions: int) -> None:
    found = np.array([1.0, *decaying(first, decay, positions), 0.0])
    assert (np.diff(found) <= 0).all()


def test_tokens_are_those_accepted_and_one_of_the_target() -> None:
    assert tokens_per_step(()) == 1.0
    assert tokens_per_step((1.0, 1.0)) == 3.0
    assert tokens_per_step(constant(0.5, 2)) == 1.75
