"""No test of the emulator may hang, and none that asks a real engine runs without it."""

from __future__ import annotations

import signal
from collections.abc import Generator
from importlib.util import find_spec
from types import FrameType

import pytest

LIMIT_S = 300
"""An engine that has not ended then never will."""


@pytest.fixture(autouse=True)
def _beside_its_engine(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    marker: pytest.Mark | None = request.node.get_closest_marker("engine")
    name = str(marker.kwargs["name"]) if marker is not None else None
    if name is not None and find_spec(name) is None:  # SGLang alone cannot be imported as it is
        pytest.skip(f"{name} is not installed")


@pytest.fixture(autouse=True)
def _within_time() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not finished after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
