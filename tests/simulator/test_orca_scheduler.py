"""Orca's algorithm, on a clock where every step takes a millisecond."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.scheduler import SchedulerLimits
from tests.driver import Arrival
from tests.policy_times import MS, served

LIMITS = SchedulerLimits(8, 100, 128, 8)


def test_a_whole_prompt_joins_those_who_decode_at_the_next_step() -> None:
    times = served(OrcaScheduler, LIMITS, Arrival(0, 0, 20, 10), Arrival(1, MS + 1, 90, 2))
    assert times == {"scheduled": [0, 2], "finish": [10, 4]}


def test_memory_for_the_whole_output_is_set_aside_at_the_start() -> None:
    """Of 8 blocks of 16 tokens the first holds 1 at first, but may come to hold 5."""
    first, second = Arrival(0, 0, 10, 70), Arrival(1, 0, 10, 54)
    assert served(OrcaScheduler, LIMITS, first, second)["scheduled"] == [0, 70]
    third = Arrival(1, 0, 10, 38)
    assert served(OrcaScheduler, LIMITS, first, third)["scheduled"] == [0, 0]


def test_who_does_not_fit_keeps_all_behind_waiting() -> None:
    arrivals = Arrival(0, 0, 10, 70), Arrival(1, 0, 10, 54), Arrival(2, 0, 1, 1)
    assert served(OrcaScheduler, LIMITS, *arrivals)["scheduled"] == [0, 70, 70]


def test_no_more_than_the_batch_size_run() -> None:
    limits = SchedulerLimits(2, 100, 128, 64)
    times = served(OrcaScheduler, limits, *(Arrival(i, 0, 4, 3 + i) for i in range(3)))
    assert times["scheduled"] == [0, 0, 3]


def test_a_prompt_above_the_bound_of_a_step_is_refused() -> None:
    with pytest.raises(InputError, match="120 tokens exceeds max_num_batched_tokens 100"):
        served(OrcaScheduler, LIMITS, Arrival(0, 0, 120, 1))
