"""What a look may bring, against draws of the same normal values."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.search.acquisition import chance_below, expected_improvement

DRAWS = np.random.default_rng(0).standard_normal(400_000)


@pytest.mark.parametrize(("mean", "sd"), [(1.0, 0.5), (0.2, 0.1), (3.0, 1.0)])
def test_both_are_the_averages_of_draws(mean: float, sd: float) -> None:
    values = mean + sd * DRAWS
    one_mean, one_sd = np.array([mean]), np.array([sd])
    improvement = np.maximum(1.0 - values, 0.0).mean()
    assert expected_improvement(1.0, one_mean, one_sd)[0] == pytest.approx(improvement, abs=2e-3)
    below = (values <= 1.0).mean()
    assert chance_below(1.0, one_mean, one_sd)[0] == pytest.approx(below, abs=2e-3)


def test_what_is_certainly_worse_brings_nothing() -> None:
    assert expected_improvement(0.0, np.array([9.0]), np.array([1e-3]))[0] == 0.0
    assert chance_below(0.0, np.array([9.0]), np.array([1e-3]))[0] == 0.0
