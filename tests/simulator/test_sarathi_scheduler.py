"""Sarathi-Serve's algorithm, on a clock where every step takes a millisecond."""

from __future__ import annotations

from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import SchedulerLimits
from tests.driver import Arrival
from tests.policy_times import MS, served
from tests.scheduler_driver import SchedulerDriver

LIMITS = SchedulerLimits(8, 20, 128, 64)


def test_a_long_prompt_takes_what_decodes_leave_of_the_budget() -> None:
    """19 of 20 tokens a step: the first 95 in five steps, and the first token in the sixth."""
    times = served(SarathiScheduler, LIMITS, Arrival(0, 0, 10, 30), Arrival(1, MS, 96, 1))
    assert times == {"scheduled": [0, 1], "finish": [30, 7]}


def test_decodes_never_stand_still_for_a_prompt() -> None:
    alone = served(SarathiScheduler, LIMITS, Arrival(0, 0, 10, 30))
    beside = served(SarathiScheduler, LIMITS, Arrival(0, 0, 10, 30), Arrival(1, MS, 120, 8))
    assert alone["finish"][0] == beside["finish"][0] == 30


def test_blocks_for_the_whole_prompt_are_taken_with_its_first_chunk() -> None:
    driver = SchedulerDriver(LIMITS, SarathiScheduler)
    driver.add(100, 1)
    assert driver.step() == {0: 20}
    assert driver.scheduler.blocks.free == 64 - 7


def test_the_last_admitted_gives_way_where_blocks_run_out() -> None:
    driver = SchedulerDriver(SchedulerLimits(8, 200, 128, 8), SarathiScheduler)
    driver.add(60, 60)
    driver.add(60, 60)
    while not driver.preempted:
        driver.step()
    assert (driver.running, driver.waiting, driver.preempted) == ([0], [1], [1])
