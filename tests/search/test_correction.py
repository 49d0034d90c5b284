"""A rung's error as it is learnt: exact where it was seen, doubtful far away."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.search.correction import Correction

PLACES = np.random.default_rng(0).random((200, 3))


def learnt(count: int, error: float | None = None) -> Correction:
    correction = Correction(0.5)
    for place in PLACES[:count]:
        correction.learn(place, smooth(place) if error is None else error)
    return correction


def smooth(place: np.ndarray) -> float:
    return float(0.3 * place[0] - 0.2 * place[1] ** 2)


def test_before_anything_was_seen_all_is_doubt() -> None:
    error, sd = Correction(0.5).at(PLACES)
    assert (error == 0).all()
    assert (sd == 0.5).all()


def test_what_was_seen_is_known_nearly() -> None:
    error, sd = learnt(30).at(PLACES[:30])
    assert error == pytest.approx([smooth(place) for place in PLACES[:30]], abs=0.02)
    assert sd.max() < 0.1


def test_more_looks_tell_more_of_what_was_not_seen() -> None:
    wanted = np.array([smooth(place) for place in PLACES[100:]])

    def miss(count: int) -> tuple[float, float]:
        error, sd = learnt(count).at(PLACES[100:])
        return float(np.abs(error - wanted).mean()), float(sd.mean())

    few, many = miss(5), miss(100)
    assert many[0] < few[0] / 2
    assert many[1] < few[1]


def test_an_error_that_is_the_same_everywhere_is_expected_everywhere() -> None:
    error, _ = learnt(20, error=0.4).at(PLACES[100:])
    assert error == pytest.approx(np.full(100, 0.4), abs=0.06)


def test_few_equal_errors_do_not_look_certain() -> None:
    _, sd = learnt(2, error=0.1).at(np.array([[5.0, 5.0, 5.0]]))
    assert sd[0] > 0.2


def test_bands_cover_what_is_seen_later() -> None:
    error, sd = learnt(40).at(PLACES[100:])
    wanted = np.array([smooth(place) for place in PLACES[100:]])
    assert (np.abs(wanted - error) < 2 * sd).mean() > 0.9
