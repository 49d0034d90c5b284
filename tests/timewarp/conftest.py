"""No test of the emulator may hang, and none that asks a real engine runs without it."""

from __future__ import annotations

import signal
from collections.abc import Generator
from types import FrameType

import pytest

LIMIT_S = 300
"""An engine that has not ended then never will."""


@pytest.fixture(autouse=True)
def _beside_its_engine(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    marker: pytest.Mark | None = request.node.get_closest_marker("engine")
    if marker is not None:
        pytest.importorskip(str(marker.kwargs["name"]))


@pytest.fixture(autouse=True)
def _within_time() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not finished after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
