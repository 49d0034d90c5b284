"""Static batching, on a clock where every step takes a millisecond."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.static_scheduler import StaticScheduler
from tests.driver import Arrival
from tests.policy_times import MS, served

LIMITS = SchedulerLimits(4, 100, 128, 64)


def test_a_batch_runs_until_its_longest_ends_and_nobody_joins() -> None:
    arrivals = Arrival(0, 0, 10, 3), Arrival(1, 0, 10, 20), Arrival(2, MS, 10, 5)
    times = served(StaticScheduler, LIMITS, *arrivals)
    assert times == {"scheduled": [0, 0, 20], "finish": [3, 20, 25]}


def test_those_who_waited_together_are_the_next_batch() -> None:
    first = Arrival(0, 0, 10, 10)
    others = [Arrival(i, i * MS, 10, 2 + i) for i in range(1, 6)]
    times = served(StaticScheduler, LIMITS, first, *others)
    assert times["scheduled"] == [0, 10, 10, 10, 10, 16]


def test_prompts_that_exceed_a_step_take_several_before_anybody_decodes() -> None:
    times = served(StaticScheduler, LIMITS, *(Arrival(i, 0, 60, 3) for i in range(3)))
    assert times == {"scheduled": [0, 1, 2], "finish": [5, 5, 5]}


def test_a_batch_holds_no_more_than_memory_does_to_the_end() -> None:
    limits = SchedulerLimits(4, 100, 128, 8)
    times = served(StaticScheduler, limits, *(Arrival(i, 0, 10, 38) for i in range(3)))
    assert times["scheduled"] == [0, 0, 38]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_batches_are_those_of_the_bulk_queue(drawn: list[tuple[int, int]], size: int) -> None:
    """Each batch starts when the one before has ended, and takes as long as its longest."""
    arrivals, now_ms = list[Arrival](), 0
    for index, (gap_ms, tokens) in enumerate(drawn):
        now_ms += gap_ms
        arrivals.append(Arrival(index, now_ms * MS, 1, tokens))
    limits = SchedulerLimits(size, 100, 128, 64)
    assert served(StaticScheduler, limits, *arrivals)["scheduled"] == bulk_starts(arrivals, size)


def bulk_starts(arrivals: Sequence[Arrival], size: int) -> list[int]:
    """When requests start in a queue served by the batch; those of one instant come one by one,
    and the first finds the server idle."""
    coming, starts, free_ms = list(arrivals), list[int](), 0
    while coming:
        start_ms = max(free_ms, coming[0].arrival_ns // MS)
        batch = [each for each in coming[:size] if each.arrival_ns // MS <= start_ms]
        coming = coming[len(batch) :]
        starts += [start_ms] * len(batch)
        free_ms = start_ms + max(each.output_tokens for each in batch)
    return starts
