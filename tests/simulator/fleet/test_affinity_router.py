"""llm-d's sum of scores, Dynamo's cost, and sessions that stay."""

from __future__ import annotations

import pytest

from servecast.primitives.deployment import Routing
from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.router import Informed, Router
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.request import Request
from tests.simulator.fleet.fakes import Fake, asks, fakes

NONE = RoutingOptions()


def made(routing: Routing, options: RoutingOptions = NONE) -> Router:
    return router_of(routing, lambda: 0, options)


def chosen(router: Router, replicas: tuple[Fake, ...], request: Request) -> int:
    replica = router.route(replicas, request)
    assert replica is not None
    return replica.number


def computed(router: Router, replicas: tuple[Fake, ...], request: Request) -> int:
    """The same, and its prompt is computed at once."""
    number = chosen(router, replicas, request)
    request.first_token_ns = 1
    return number


def ended(router: Router, replica: Fake, request: Request) -> None:
    assert isinstance(router, Informed)
    router.ended(replica, [request])


@pytest.mark.parametrize("routing", ["prefix_affinity", "kv_overlap"])
def test_a_prompt_goes_where_its_beginning_went(routing: Routing) -> None:
    router, replicas = made(routing), fakes(5)
    first = computed(router, replicas, asks(0, (0, 30), own=1))
    others = {computed(router, replicas, asks(n, (0, 30), own=1)) for n in range(1, 4)}
    assert others == {first}


def test_a_prompt_that_is_still_being_computed_counts_twice() -> None:
    """Dynamo: its blocks are held and have to be computed, so that the next one goes elsewhere."""
    router, replicas = made("kv_overlap"), fakes(2)
    home = chosen(router, replicas, asks(0, (0, 30), own=1))
    assert chosen(router, replicas, asks(1, (0, 30), own=1)) == 1 - home


def test_scores_are_weighted_as_llm_d_does_by_default() -> None:
    """3 x share of the prompt, 2 x free cache, 2 x emptier queue: 6/8 x 3 gives way to 2 + 0.5."""
    router, replicas = made("prefix_affinity"), (Fake(0), Fake(1, used=1.0, waiting=1))
    assert chosen(router, replicas, asks(0, (0, 6), own=2)) == 0
    replicas[0].used, replicas[1].used = 0.5, 0.25
    replicas[0].waiting, replicas[1].waiting = 1, 0
    assert chosen(router, replicas, asks(1, (0, 6), own=2)) == 1  # 2.25 + 1 against 1.5 + 2
    heavier = made("prefix_affinity", RoutingOptions(prefix_weight=9.0))
    replicas[0].used, replicas[1].used, replicas[0].waiting, replicas[1].waiting = 0, 1, 0, 1
    assert chosen(heavier, replicas, asks(0, (0, 6), own=2)) == 0
    replicas[0].used, replicas[1].used = 0.5, 0.25
    replicas[0].waiting, replicas[1].waiting = 1, 0
    assert chosen(heavier, replicas, asks(1, (0, 6), own=2)) == 0  # 6.75 + 1 against 1.5 + 2


def test_what_a_router_forgets_is_a_prompt_like_any_other() -> None:
    router = made("prefix_affinity", RoutingOptions(index_tokens=40 * 16))
    replicas = (Fake(0), Fake(1, used=0.1))
    assert chosen(router, replicas, asks(0, (0, 30))) == 0
    replicas[0].used = 0.6
    assert chosen(router, replicas, asks(1, (0, 30))) == 0  # 3 x 1 outweighs
    replicas[0].used = 0.0
    assert chosen(router, replicas, asks(2, (500, 40))) == 0  # and takes all the room there is
    replicas[0].used = 0.6
    assert chosen(router, replicas, asks(3, (0, 30))) == 1


def test_a_replica_that_holds_too_much_loses_a_short_prefix() -> None:
    """Dynamo: blocks to compute and blocks held count alike."""
    router, replicas = made("kv_overlap"), fakes(2)
    home = computed(router, replicas, asks(0, (0, 10)))
    assert computed(router, replicas, asks(1, (1000, 60))) == 1 - home  # 60 + 60 against 60 + 70
    for index in (2, 3):  # 40 + 50, then 40 + 90, against 50 + 110
        assert computed(router, replicas, asks(index, (0, 10), own=40)) == home
    assert computed(router, replicas, asks(4, (0, 10), own=40)) == 1 - home  # 40 + 130


def test_what_has_ended_is_held_no_more() -> None:
    router, replicas = made("kv_overlap"), fakes(2)
    large = asks(0, (0, 100))
    home = computed(router, replicas, large)
    assert computed(router, replicas, asks(1, own=10)) == 1 - home
    ended(router, replicas[home], large)
    assert chosen(router, replicas, asks(2, own=5)) == home


def test_a_session_stays_where_it_began_until_its_replica_is_gone() -> None:
    router, replicas = made("sticky_sessions"), fakes(3)
    assert chosen(router, replicas, asks(0, session=7)) == 0
    replicas[0].outstanding = 9
    assert chosen(router, replicas, asks(1, session=8)) == 1
    assert chosen(router, replicas, asks(2, session=7)) == 0
    left = replicas[1:]
    replicas[1].outstanding = 5
    assert chosen(router, left, asks(3, session=7)) == 2
    assert chosen(router, replicas, asks(4, session=7)) == 2


def test_who_has_no_session_goes_to_the_least_loaded() -> None:
    router, replicas = made("sticky_sessions"), (Fake(0, outstanding=2), Fake(1, outstanding=1))
    assert [chosen(router, replicas, asks(index)) for index in range(2)] == [1, 1]
