"""Virtual time: jumps move it, and the control loop's own CPU time only where it flows."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.batch import StepTime
from servecast.timewarp.clock import VirtualClock


class Burner:
    """CPU time that a test spends by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


@given(st.lists(st.integers(0, 10**15)))
def test_it_is_where_the_farthest_jump_went(targets: list[int]) -> None:
    clock = VirtualClock()
    for target in targets:
        clock.jump_to(target)
    assert clock.now_ns() == max(targets, default=0)


def test_frozen_it_stands_still_while_work_is_done() -> None:
    burner = Burner()
    clock = VirtualClock(cpu_ns=burner)
    burner.ns = 5_000
    assert clock.now_ns() == 0
    assert not clock.is_flowing


def test_flowing_it_counts_cpu_time_between_jumps() -> None:
    burner = Burner()
    clock = VirtualClock(scale=2.0, cpu_ns=burner)
    burner.ns = 5
    assert clock.now_ns() == 10
    clock.jump_to(100)
    assert clock.now_ns() == 100
    burner.ns = 8
    assert clock.now_ns() == 106
    clock.jump_to(50)
    assert clock.now_ns() == 106


def test_what_is_done_while_it_is_held_takes_no_time() -> None:
    burner = Burner()
    clock = VirtualClock(scale=1.0, cpu_ns=burner)
    burner.ns = 1
    with clock.held():
        burner.ns = 10
        assert clock.now_ns() == 1
        with clock.released():
            burner.ns = 13
            assert clock.now_ns() == 4
            with clock.held():
                burner.ns = 20
            burner.ns = 21
        clock.jump_to(50)
        burner.ns = 30
        assert clock.now_ns() == 50
    burner.ns = 32
    assert clock.now_ns() == 52


def test_a_step_ends_after_device_and_host_time_of_which_the_host_is_real_when_it_flows() -> None:
    step = StepTime(device_ns=700, host_ns=30)
    assert VirtualClock().end_ns(1_000, step) == 1_730
    assert VirtualClock(scale=1.0).end_ns(1_000, step) == 1_700


def test_another_thread_reads_it_and_does_not_move_it() -> None:
    burner = Burner()
    clock = VirtualClock(scale=1.0, cpu_ns=burner)
    clock.jump_to(7)
    burner.ns = 100
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(clock.now_ns()))
    thread.start()
    thread.join()
    assert seen == [7]


@pytest.mark.parametrize("cost", [-1, math.nan, math.inf, 1.5])
def test_a_cost_that_is_no_duration_is_refused(cost: float) -> None:
    with pytest.raises(InputError, match=r"the device time of a step is .* whole number of nano"):
        VirtualClock().end_ns(0, StepTime(cost, 0))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the host time of a step"):
        VirtualClock().end_ns(0, StepTime(0, cost))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a pause is"):
        VirtualClock().sleep(cost)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_clock_flows_forward_at_a_finite_pace(scale: float) -> None:
    with pytest.raises(InputError, match="cannot flow"):
        VirtualClock(scale=scale)
