"""SGLang's guess of how much of a declared output will come."""

from __future__ import annotations

import pytest

from servecast.simulator.new_token_ratio import NewTokenRatio


def test_it_falls_to_a_seventh_in_600_decode_steps_and_stays() -> None:
    ratio = NewTokenRatio(1.0)
    assert ratio.now() == 0.7
    ratio.fall(300)
    assert ratio.now() == pytest.approx(0.7 * 0.57)
    ratio.fall(301)
    assert ratio.now() == pytest.approx(0.098)
    ratio.fall(10**9)
    assert ratio.now() == pytest.approx(0.098)


def test_steps_at_once_are_steps_one_by_one() -> None:
    at_once, one_by_one = NewTokenRatio(0.9), NewTokenRatio(0.9)
    at_once.fall(417)
    for _ in range(417):
        one_by_one.fall(1)
        one_by_one.now()
    assert at_once.now() == one_by_one.now()


def test_it_is_never_above_one() -> None:
    assert NewTokenRatio(5.0).now() == 1.0


def test_who_stays_after_a_retraction_tells_it_anew() -> None:
    ratio = NewTokenRatio(1.0)
    ratio.guess(2, 159, 399)
    assert ratio.now() == (159 + 40) / 400
    ratio.fall(10)
    assert ratio.now() < (159 + 40) / 400
    ratio.guess(2, 390, 399)
    assert ratio.now() == 1.0


def test_rest_makes_it_start_again() -> None:
    ratio = NewTokenRatio(1.0)
    ratio.fall(100)
    ratio.reset()
    assert ratio.now() == 0.7
