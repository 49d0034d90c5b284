"""TensorRT-LLM's MAX_UTILIZATION by its public rules, step by step."""

from __future__ import annotations

from functools import partial

import pytest

from servecast.errors import InputError
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from tests.driver import Arrival
from tests.policy_times import served
from tests.scheduler_driver import SchedulerDriver

LIMITS = SchedulerLimits(8, 128, 128, 8)


def driver(limits: SchedulerLimits, *, chunked: bool = False) -> SchedulerDriver:
    return SchedulerDriver(limits, partial(TrtllmPausingScheduler, chunked_context=chunked))


def test_a_request_starts_where_its_prompt_fits_though_its_output_may_not() -> None:
    """Five blocks each to the end, eight in all: the no-evict policy serves one at a time."""
    arrivals = Arrival(0, 0, 16, 60), Arrival(1, 0, 16, 60)
    assert served(TrtllmPausingScheduler, LIMITS, *arrivals)["scheduled"] == [0, 0]
    assert served(TrtllmScheduler, LIMITS, *arrivals)["scheduled"] == [0, 60]


def test_the_last_started_is_paused_and_computed_again_with_what_it_said() -> None:
    drive = driver(LIMITS)
    drive.add(64, 40)
    drive.add(40, 40)
    computed = drive.step()
    drive.add(4, 4)
    while not drive.preempted:
        computed = drive.step()
    assert drive.preempted == [1]
    assert computed == {0: 1}, "nobody starts in the step that pauses somebody"
    assert drive.waiting == [1, 2], "the paused goes ahead of all others"
    while 1 not in computed:
        computed = drive.step()
    assert computed[1] > 40, "what it had said is a part of its prompt now"


def test_a_prompt_is_cut_to_whole_blocks_and_keeps_blocks_for_all_of_it() -> None:
    drive = driver(SchedulerLimits(8, 50, 128, 8), chunked=True)
    drive.add(100, 1)
    assert drive.step() == {0: 48}
    assert drive.scheduler.blocks.free == 1
    assert drive.step() == {0: 48}
    assert drive.step() == {0: 4}


def test_without_cutting_a_request_that_could_not_be_computed_again_is_refused() -> None:
    limits = SchedulerLimits(8, 100, 128, 8)
    with pytest.raises(InputError, match="up to 119 tokens exceeds max_num_tokens 100") as told:
        driver(limits).scheduler.add_request(Arrival(0, 0, 60, 60).request())
    assert "enable_chunked_prefill" in str(told.value.hint)
    driver(limits, chunked=True).scheduler.add_request(Arrival(0, 0, 60, 60).request())


def test_a_step_that_holds_no_block_is_refused() -> None:
    with pytest.raises(InputError, match="max_num_tokens 8 is below tokens_per_block 16"):
        driver(SchedulerLimits(8, 8, 128, 8), chunked=True)
