"""Which routers nginx can be, and what others take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Routing
from servecast.primitives.routing_options import Gateway, RoutingOptions
from servecast.search.proxy import balancing
from servecast.simulator.fleet.routers import ROUTERS
from tests.emitted_cases import TWO

LINES = {
    "round_robin": "",
    "random": "random;",
    "least_outstanding": "least_conn;",
    "power_of_two": "random two least_conn;",
    "central_queue": "least_conn;",
}


@pytest.mark.parametrize(("routing", "line"), LINES.items())
def test_what_nginx_does(routing: Routing, line: str) -> None:
    assert balancing(replace(TWO, routing=routing)) == line


@pytest.mark.parametrize(
    ("routing", "takes"),
    [
        ("prefix_affinity", "llm-d's scheduler"),
        ("least_kv", "llm-d's scheduler"),
        ("kv_overlap", "Dynamo's KV router"),
        ("sticky_sessions", "a proxy that finds the session"),
    ],
)
def test_what_takes_another_router_is_refused_by_its_name(routing: Routing, takes: str) -> None:
    with pytest.raises(UnsupportedError, match=f"routing by {routing} takes {takes}"):
        balancing(replace(TWO, routing=routing))
    assert balancing(replace(TWO, routing=routing, replicas=1)) == ""


def test_every_router_is_one_or_the_other() -> None:
    assert {*LINES, "prefix_affinity", "least_kv", "kv_overlap", "sticky_sessions"} == {*ROUTERS}


def test_a_bound_or_old_news_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="holds requests to 8 at once"):
        balancing(replace(TWO, gateway=Gateway(8)))
    stale = replace(TWO, routing="power_of_two", routing_options=RoutingOptions(refresh_ms=50.0))
    with pytest.raises(UnsupportedError, match="never 50 ms late"):
        balancing(stale)
