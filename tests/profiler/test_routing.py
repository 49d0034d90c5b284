"""How many tokens an expert gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.profiler.routing import visits

ROUTINGS = ("balanced", "power_law_1.2")


@given(
    tokens=st.integers(1, 3000),
    experts=st.integers(1, 300),
    share=st.floats(0.0, 1.0),
    distribution=st.sampled_from(ROUTINGS),
)
def test_every_token_visits_as_many_experts_as_it_should_and_none_twice(
    tokens: int, experts: int, share: float, distribution: str
) -> None:
    per_token = 1 + int(share * (experts - 1))
    loads = visits(tokens, per_token, experts, distribution)
    assert loads.sum() == tokens * per_token
    assert loads.min() >= 0
    assert loads.max() <= tokens


def test_even_routing_is_even() -> None:
    assert visits(64, 8, 128, "balanced").tolist() == [4] * 128


def test_the_power_law_loads_few_experts_with_most_of_the_work() -> None:
    loads = np.sort(visits(4096, 8, 256, "power_law_1.2"))
    assert loads[-26:].sum() > 0.4 * loads.sum(), "a tenth of them"
    assert np.median(loads) < 0.3 * loads.mean()


def test_one_token_goes_to_as_many_experts_as_are_asked_for() -> None:
    assert sorted(visits(1, 4, 32, "power_law_1.2").tolist())[-5:] == [0, 1, 1, 1, 1]


def test_another_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="zipf"):
        visits(4, 1, 8, "zipf")
