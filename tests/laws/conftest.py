"""How many workloads a law draws: as many as it says, or 500 with the slow tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.workload_cases import Drawn


@pytest.fixture(
    params=[pytest.param(0, id="some"), pytest.param(500, id="500", marks=pytest.mark.slow)]
)
def drawn(request: pytest.FixtureRequest) -> Drawn:
    """From the number of workloads that are enough from day to day to a law's settings."""
    least: int = request.param

    def law(enough: int) -> settings:
        examples = max(enough, least)
        return settings(max_examples=examples, derandomize=True, deadline=None, print_blob=True)

    return law
