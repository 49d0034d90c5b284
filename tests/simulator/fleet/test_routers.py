"""What every router has to do, whatever it looks at."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.deployment import Routing
from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.router import Informed, Router
from servecast.simulator.fleet.routers import ROUTERS, is_static, read_by, router_of
from servecast.simulator.request import Request
from tests.simulator.fleet.fakes import Fake, asks, fakes

EXAMPLES = settings(max_examples=40, derandomize=True, deadline=None)
STALE = RoutingOptions(refresh_ms=50.0)
Kind = tuple[Routing, RoutingOptions]
KINDS: list[Kind] = [
    (routing, options)
    for options in (RoutingOptions(), STALE)
    for routing in ROUTERS
    if read_by(routing, options) == options
]


@st.composite
def happenings(draw: st.DrawFn) -> list[tuple[str, int]]:
    """What happens in front of replicas: requests of few sessions and prefixes, ends, changes."""
    kinds = st.sampled_from(["request"] * 6 + ["end"] * 4 + ["come", "go"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 5)), max_size=60))


class Service:
    """Replicas that come and go behind one router, and the requests that they have."""

    def __init__(self, kind: Kind) -> None:
        self.now_ns = 0
        self.router: Router = router_of(kind[0], lambda: self.now_ns, kind[1])
        self.replicas: tuple[Fake, ...] = fakes(3)
        self.ever = 3
        self.held: list[tuple[Fake, Request]] = []
        self.chosen: list[int | None] = []

    def happen(self, what: str, detail: int, index: int) -> None:
        """Let it happen, 20 ms after what happened before."""
        self.now_ns += 20_000_000
        if what == "request":
            self.send(asks(index, (100 * detail, 10), own=2, session=detail))
        elif what == "end" and self.held:
            self.end(*self.held.pop(detail % len(self.held)))
        elif what == "come":
            self.replicas = (*self.replicas, Fake(self.ever))
            self.ever += 1
        elif what == "go" and self.replicas:
            gone = self.replicas[detail % len(self.replicas)]
            self.replicas = tuple(each for each in self.replicas if each is not gone)
            for replica, request in [each for each in self.held if each[0] is gone]:
                self.held.remove((replica, request))
                self.end(replica, request)

    def send(self, request: Request) -> None:
        """Ask the router, and do what it says."""
        replica = self.router.route(self.replicas, request)
        self.chosen.append(None if replica is None else replica.number)
        if replica is None:
            return
        assert any(replica is each for each in self.replicas)
        replica.outstanding += 1
        replica.used += 0.01
        replica.waiting = max(0, replica.outstanding - replica.places)
        self.held.append((replica, request))

    def end(self, replica: Fake, request: Request) -> None:
        """A last token is out."""
        replica.outstanding -= 1
        replica.used -= 0.01
        if isinstance(self.router, Informed):
            self.router.ended(replica, [request])


def served(kind: Kind, events: Sequence[tuple[str, int]]) -> Service:
    service = Service(kind)
    for index, (what, detail) in enumerate(events):
        service.happen(what, detail, index)
    return service


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]} {kind[1].refresh_ms:g} ms")
class TestAnyRouter:
    """The conformance suite: each router runs it, fresh and, where it scrapes, stale."""

    @EXAMPLES
    @given(events=happenings())
    def test_it_names_one_of_the_replicas_that_are_there(
        self, kind: Kind, events: list[tuple[str, int]]
    ) -> None:
        service = served(kind, events)
        if kind[0] != "central_queue":
            assert None not in service.chosen or any(what == "go" for what, _ in events)

    @EXAMPLES
    @given(events=happenings())
    def test_it_does_the_same_again(self, kind: Kind, events: list[tuple[str, int]]) -> None:
        assert served(kind, events).chosen == served(kind, events).chosen

    def test_it_says_none_where_there_is_no_replica(self, kind: Kind) -> None:
        service = Service(kind)
        service.replicas = ()
        service.send(asks(0, (0, 10)))
        assert service.chosen == [None]

    def test_a_lone_replica_gets_everything(self, kind: Kind) -> None:
        service = Service(kind)
        service.replicas = fakes(1)
        for index in range(4):
            service.send(asks(index, (0, 10), session=index))
        assert service.chosen == [0, 0, 0, 0]

    def test_it_says_of_itself_whether_it_looks(self, kind: Kind) -> None:
        assert Service(kind).router.is_static == is_static(kind[0])


@pytest.mark.parametrize("routing", ["random", "power_of_two", "prefix_affinity", "kv_overlap"])
def test_another_seed_draws_otherwise(routing: Routing) -> None:
    found: list[list[int | None]] = []
    for seed in (1, 2):
        service = Service((routing, RoutingOptions(seed=seed)))
        service.replicas = fakes(9)
        for index in range(20):
            service.send(asks(index, own=1))
        found.append(service.chosen)
    assert found[0] != found[1]


def test_an_option_that_a_router_does_not_read_is_refused() -> None:
    with pytest.raises(InputError, match="refresh_ms 50 is nothing to central_queue") as refused:
        router_of("central_queue", lambda: 0, STALE)
    assert refused.value.hint is not None
    assert "least_outstanding" in refused.value.hint
