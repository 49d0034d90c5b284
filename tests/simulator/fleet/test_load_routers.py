"""Routers that look at loads: who is chosen, and that nobody is looked at for nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.load_routers import CentralQueue, LeastKv, LeastOutstanding
from servecast.simulator.fleet.routers import router_of
from tests.simulator.fleet.fakes import Fake, asks, fakes

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["send", "end", "come", "go"]), st.integers(0, 20)), max_size=120
)


def scanned(replicas: tuple[Fake, ...]) -> Fake:
    return min(replicas, key=lambda each: (each.outstanding, each.number))


@settings(max_examples=200, derandomize=True, deadline=None)
@given(ACTIONS)
def test_the_heap_finds_whom_a_scan_of_all_would_find(actions: list[tuple[str, int]]) -> None:
    router, replicas, ever = LeastOutstanding(), fakes(5), 5
    for index, (what, number) in enumerate(actions):
        if what == "send":
            chosen = router.route(replicas, asks(index))
            assert chosen is not None
            assert chosen is scanned(replicas)
            chosen.outstanding += 1 + number % 3  # others may send to it too
        elif what == "end":
            replica = replicas[number % len(replicas)]
            replica.outstanding = max(0, replica.outstanding - 1 - number % 4)
            router.ended(replica, ())
        elif what == "come":
            replicas, ever = (*replicas, Fake(ever, outstanding=number)), ever + 1
        elif len(replicas) > 1:
            replicas = replicas[1:]


def test_a_full_replica_gets_nothing_from_one_queue_while_a_larger_one_has_a_place() -> None:
    small, large = Fake(0, outstanding=1, places=1), Fake(1, outstanding=5, places=8)
    router = CentralQueue()
    assert router.route((small, large), asks(0)) is large
    large.outstanding = 8
    both = (small, large)
    assert router.route(both, asks(1)) is None
    small.outstanding = 0
    router.ended(small, ())
    assert router.route(both, asks(1)) is small


def test_the_least_full_cache_gets_the_request() -> None:
    replicas = (Fake(0, used=0.5), Fake(1, used=0.2), Fake(2, used=0.2))
    chosen = LeastKv(lambda: 0).route(replicas, asks(0))
    assert chosen is replicas[1]


def test_two_choices_leave_the_longest_queue_far_shorter_than_one() -> None:
    """With n requests on n replicas: about log log n, against log n / log log n."""
    longest: dict[str, int] = {}
    for routing in ("random", "power_of_two"):
        router = router_of(routing, lambda: 0, RoutingOptions(seed=5))
        replicas = fakes(2000)
        for index in range(2000):
            chosen = router.route(replicas, asks(index))
            assert chosen is not None
            chosen.outstanding += 1
        longest[routing] = max(Counter(each.outstanding for each in replicas))
    assert longest["power_of_two"] <= 3 < 5 <= longest["random"]
