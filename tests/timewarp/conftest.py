"""No test of the emulator may hang: an engine that never ends is a failure after this time."""

from __future__ import annotations

import signal
from collections.abc import Generator
from types import FrameType

import pytest

LIMIT_S = 300


@pytest.fixture(autouse=True)
def _within_time() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not finished after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
