"""Several loops on one virtual time: whose moment comes first goes on, and nothing runs at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from servecast.errors import InputError, ServecastError
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.remote_kv import Link, RemoteKv, Store
from servecast.timewarp.shared_clock import SharedClock


def stepping(clock: SharedClock, name: str, step_ns: int, steps: int, seen: list[str]) -> None:
    for _ in range(steps):
        clock.jump_to(clock.now_ns() + step_ns)
        seen.append(f"{name}{clock.now_ns()}")


def test_loops_go_on_in_the_order_of_their_moments() -> None:
    clock, seen = SharedClock(), list[str]()
    clock.run([lambda: stepping(clock, "a", 3, 4, seen), lambda: stepping(clock, "b", 4, 3, seen)])
    assert seen == ["a3", "b4", "a6", "b8", "a9", "a12", "b12"]


def test_who_dozes_is_woken_and_who_jumps_is_not() -> None:
    clock, seen = SharedClock(), list[int]()

    def sleeper(wait: Callable[[int], None]) -> None:
        wait(100)
        seen.append(clock.now_ns())

    def waker() -> None:
        clock.jump_to(10)
        clock.wake(0, 20)
        clock.wake(1, 20)
        clock.jump_to(50)

    clock.run([lambda: sleeper(clock.doze), lambda: sleeper(clock.jump_to), waker])
    assert seen == [20, 100]


def test_who_rests_goes_on_when_all_others_have_done_what_they_do_at_that_moment() -> None:
    clock, seen = SharedClock(), list[str]()

    def loop(name: str) -> None:
        clock.jump_to(10)
        seen.append(f"{name} ends")
        clock.rest()
        seen.append(f"{name} begins")
        clock.jump_to(20)

    clock.run([lambda: loop("a"), lambda: loop("b"), lambda: clock.jump_to(15)])
    assert seen == ["a ends", "b ends", "a begins", "b begins"]
    assert clock.now_ns() == 20


def test_a_loop_that_ends_wakes_those_who_wait_for_it() -> None:
    clock, seen = SharedClock(), list[int]()

    def waiting() -> None:
        clock.doze(None)
        seen.append(clock.now_ns())

    clock.run([lambda: clock.jump_to(7), waiting])
    assert seen == [7]


def test_loops_that_wait_for_each_other_end_in_an_error() -> None:
    clock = SharedClock()
    with pytest.raises(ServecastError, match="every engine waits for another one"):
        clock.run([lambda: clock.doze(None), lambda: clock.doze(None)])


def test_what_one_loop_raises_ends_all() -> None:
    clock = SharedClock()

    def failing() -> None:
        clock.jump_to(5)
        raise InputError("no such block")

    with pytest.raises(InputError, match="no such block"):
        clock.run([lambda: clock.jump_to(1000), failing])


def test_transfers_follow_each_other_on_a_link() -> None:
    clock = VirtualClock()
    link = Link(bytes_per_s=1e9, bytes_per_token=1000.0, latency_s=1e-6)
    remote = RemoteKv(clock, link, Store(lambda index: 40))
    assert remote.matched("3", 100, 16) == 24
    assert remote.matched("3", 30, 32) == 0
    remote.fetch("3", 24)
    remote.fetch("4", 10)
    assert remote.next_ns() == 25_000
    clock.jump_to(25_000)
    assert remote.received() == {"3"}
    assert remote.next_ns() == 35_000
    remote.doze(remote.next_ns())
    assert remote.received() == {"4"}
    assert not remote.is_waiting


def test_a_link_that_carries_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no KV cache comes over a link of 0"):
        Link(0.0, 1000.0)
