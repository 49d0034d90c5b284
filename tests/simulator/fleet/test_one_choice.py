"""A router that is asked once for each request."""

from __future__ import annotations

from servecast.simulator.fleet.load_routers import CentralQueue
from servecast.simulator.fleet.one_choice import OneChoice
from servecast.simulator.fleet.static_routers import RoundRobin
from servecast.simulator.request import Request
from tests.constant_cost import ConstantStepCost
from tests.simulator.fleet.test_cluster import engines_of, limits


def test_a_request_goes_where_it_was_said_to_go() -> None:
    engines = engines_of(limits(), ConstantStepCost(10), 3)
    router, first, second = OneChoice(RoundRobin()), Request(0, 0, 1, 1, 1), Request(1, 0, 1, 1, 1)
    assert router.route(engines, first) is engines[0]
    assert router.route(engines, second) is engines[1]
    assert router.route(engines, first) is engines[0]
    assert router.forget(0) == 0
    assert router.route(engines, first) is engines[2]


def test_who_waits_is_asked_about_again() -> None:
    engines = engines_of(limits(1), ConstantStepCost(10), 1)
    router = OneChoice(CentralQueue())
    engines[0].submit(Request(0, 0, 1, 3, 3), 0)
    waiting = Request(1, 0, 1, 1, 1)
    assert router.route(engines, waiting) is None
    engines[0].advance(None)
    assert router.route(engines, waiting) is engines[0]
