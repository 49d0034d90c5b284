"""How calls are timed by the host: takes turns, and the median of the repeats."""

from __future__ import annotations

import time

from servecast.profiler.torch_timing import MOST_REPEATS, on_host


def test_calls_take_turns_after_the_first_was_made_once() -> None:
    made: list[str] = []
    on_host([lambda: made.append("a"), lambda: made.append("b")], repeats=4)
    assert made == ["a", "a", "b", "a", "b"]


def test_short_calls_are_repeated_up_to_a_limit() -> None:
    made: list[int] = []
    on_host([lambda: made.append(1)])
    assert len(made) == 1 + MOST_REPEATS


def test_a_wait_counts_by_the_clock_and_not_where_the_thread_is_alone() -> None:
    def wait() -> None:
        time.sleep(0.01)

    assert on_host([wait], repeats=3).seconds >= 0.01
    assert on_host([wait], repeats=3, is_alone=True).seconds < 0.005
