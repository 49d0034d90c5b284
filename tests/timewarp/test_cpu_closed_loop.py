"""Profile this CPU, forecast a small model's engine on it, run it: the three agree."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.engine(name="transformers")

FORECAST, REPLAY = 0.25, 0.01
"""What the forecast may be off beyond twice what two real runs are off each other, which tells how
quiet the machine is; and what a replay may be off, which no noise touches."""


def test_the_forecast_is_as_near_as_the_machine_is_quiet() -> None:
    from benchmarks.cpu_closed_loop import close_loop

    loop = close_loop(requests=25, profile_s=20.0)
    assert loop.replayed_off.largest < REPLAY
    assert loop.forecast_off.largest < FORECAST + 2.0 * loop.again_off.largest
