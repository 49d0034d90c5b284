"""One router in front of engines on one clock: who waits, who is woken, and who sees what."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from servecast.primitives.deployment import Routing
from servecast.simulator.fleet.routers import ROUTERS, router_of
from servecast.simulator.request import Request
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop
from servecast.timewarp.dispatcher import Dispatcher, Lane
from servecast.timewarp.shared_clock import SharedClock

SERVICE_NS = 10
Served = list[tuple[int, int, int]]
"""Who began to be served, by which replica, when."""


def requests(arrivals: list[int]) -> Iterator[Request]:
    return (Request(index, ns, 1, 1, 1) for index, ns in enumerate(arrivals))


def serve(clients: Arrivals, routing: Routing, replicas: int, services: list[int]) -> Served:
    """Engines that serve one request at a time, as long as `services` says in turn."""
    clock, served = SharedClock(), Served()
    router = router_of(routing, clock.now_ns)
    dispatcher = Dispatcher(clock, clients, router, replicas, places=1)

    def engine(lane: Lane) -> None:
        queue: list[Request] = []
        while not dispatcher.is_over:
            queue += lane.due(clock.now_ns())
            if queue:
                head = queue.pop(0)
                served.append((head.index, lane.number, clock.now_ns()))
                clock.jump_to(clock.now_ns() + services[head.index % len(services)])
                lane.finished(1, clock.now_ns())
            elif (coming_ns := lane.next_ns()) is not None:
                clock.jump_to(coming_ns)
            elif not dispatcher.is_over:
                clock.doze(None)

    clock.run([partial(engine, lane) for lane in dispatcher.lanes])
    return sorted(served)


def test_a_place_that_becomes_free_goes_to_the_head_of_the_queue_at_once() -> None:
    open_loop = OpenLoop(requests([0, 0, 0, 0, 0]))
    found = serve(open_loop, "central_queue", 2, [SERVICE_NS, 25])
    assert found == [(0, 0, 0), (1, 1, 0), (2, 0, 10), (3, 0, 20), (4, 1, 25)]


def test_who_arrives_when_another_one_finishes_finds_the_place_free() -> None:
    found = serve(OpenLoop(requests([0, 10, 20])), "central_queue", 2, [SERVICE_NS])
    assert found == [(0, 0, 0), (1, 0, 10), (2, 0, 20)]


def test_who_arrived_before_a_finish_that_is_seen_later_was_sent_elsewhere() -> None:
    found = serve(OpenLoop(requests([0, 9, 10])), "central_queue", 2, [SERVICE_NS])
    assert found == [(0, 0, 0), (1, 1, 9), (2, 0, 10)]


def test_a_client_sends_again_when_it_has_thought_and_an_idle_replica_takes_it() -> None:
    clients = ClosedLoop(requests([0] * 4), concurrency=1, think_ns=5)
    found = serve(clients, "round_robin", 2, [SERVICE_NS])
    assert found == [(0, 0, 0), (1, 1, 15), (2, 0, 30), (3, 1, 45)]


def test_a_replica_that_waits_for_nobody_is_woken_by_what_another_one_finishes() -> None:
    clients = ClosedLoop(requests([0] * 5), concurrency=2, think_ns=0)
    found = serve(clients, "round_robin", 3, [SERVICE_NS, 100])
    assert found == [(0, 0, 0), (1, 1, 0), (2, 2, 10), (3, 0, 20), (4, 1, 100)]


@pytest.mark.parametrize("routing", ROUTERS)
def test_all_are_served_and_nobody_waits_for_ever(routing: Routing) -> None:
    clients = ClosedLoop(requests([0] * 50), concurrency=7, think_ns=3)
    found = serve(clients, routing, 4, [3, 1, 4, 1, 5, 9, 2, 6])
    assert [index for index, _, _ in found] == list(range(50))
