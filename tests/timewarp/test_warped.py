"""The `time` module of an engine's modules, and of nobody else's."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from types import ModuleType
from typing import Any

import pytest

from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.warped import EPOCH_NS, warped


@pytest.fixture
def modules() -> Generator[dict[str, Any]]:
    """Two modules of a package `fake_engine`, and one of another."""
    made = {name: ModuleType(name) for name in ("fake_engine", "fake_engine.core", "fake_other")}
    for module in made.values():
        vars(module).update(time=time, perf_counter=time.perf_counter, sleep=time.sleep, number=3)
    sys.modules.update(made)
    yield {name: module for name, module in made.items()}
    for name in made:
        del sys.modules[name]


def test_both_kinds_of_import_read_the_virtual_clock(modules: dict[str, Any]) -> None:
    clock = VirtualClock()
    clock.jump_to(2_500_000_000)
    core = modules["fake_engine.core"]
    with warped(clock, "fake_engine"):
        assert core.time.monotonic() == core.perf_counter() == 2.5
        assert core.time.perf_counter_ns() == core.time.monotonic_ns() == 2_500_000_000
        assert core.time.time_ns() == EPOCH_NS + 2_500_000_000
        assert core.time.time() == EPOCH_NS / 1e9 + 2.5
        assert core.number == 3


def test_a_sleep_is_a_jump(modules: dict[str, Any]) -> None:
    clock = VirtualClock()
    with warped(clock, "fake_engine"):
        modules["fake_engine"].time.sleep(3600.0)
        modules["fake_engine"].sleep(0.5)
    assert clock.now_ns() == 3_600_500_000_000


def test_everybody_else_keeps_the_real_clock(modules: dict[str, Any]) -> None:
    with warped(VirtualClock(), "fake_engine"):
        assert modules["fake_other"].time is time
        assert time.monotonic() > 0.0
        assert modules["fake_engine"].time.strftime is time.strftime


def test_the_real_clock_comes_back_also_after_an_error(modules: dict[str, Any]) -> None:
    with pytest.raises(KeyError), warped(VirtualClock(), "fake_engine"):
        raise KeyError
    for module in modules.values():
        assert module.time is time
        assert module.perf_counter is time.perf_counter
        assert module.sleep is time.sleep
