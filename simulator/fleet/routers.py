"""The routers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from servecast.errors import InputError
from servecast.primitives.deployment import Routing
from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.affinity_router import PrefixAffinity
from servecast.simulator.fleet.draws import Draws
from servecast.simulator.fleet.load_routers import (
    CentralQueue,
    LeastKv,
    LeastOutstanding,
    PowerOfTwoChoices,
)
from servecast.simulator.fleet.overlap_router import KvOverlap
from servecast.simulator.fleet.router import Clock, Router
from servecast.simulator.fleet.scraped_router import ScrapedRouter
from servecast.simulator.fleet.static_routers import RandomChoice, RoundRobin
from servecast.simulator.fleet.sticky_router import StickySessions

_STREAM = 0x726F7574
"""Sets what routers draw apart from all else that comes from the same seed."""
_STATIC = ("round_robin", "random")
"""Routers that look at nothing."""
_KEEPS_ACCOUNT = ("central_queue", "kv_overlap")
"""Routers that count by themselves and scrape nothing."""
DEFAULT = RoutingOptions()


@dataclass(frozen=True, slots=True)
class RouterSetting:
    """What routers are made of."""

    options: RoutingOptions
    block_size: int
    clock: Clock
    draws: Draws


ROUTERS: Mapping[Routing, Callable[[RouterSetting], Router]] = MappingProxyType(
    {
        "round_robin": lambda _: RoundRobin(),
        "random": lambda made_of: RandomChoice(made_of.draws),
        "central_queue": lambda _: CentralQueue(),
        "least_outstanding": lambda _: LeastOutstanding(),
        "power_of_two": lambda made_of: PowerOfTwoChoices(made_of.draws),
        "least_kv": lambda made_of: LeastKv(made_of.clock),
        "sticky_sessions": lambda _: StickySessions(),
        "prefix_affinity": lambda made_of: PrefixAffinity(
            made_of.options, made_of.block_size, made_of.clock, made_of.draws
        ),
        "kv_overlap": lambda made_of: KvOverlap(made_of.options, made_of.block_size, made_of.draws),
    }
)


def is_static(routing: Routing) -> bool:
    """Whether its choice ignores what the replicas are doing."""
    return routing in _STATIC


def router_of(
    routing: Routing, clock: Clock, options: RoutingOptions = DEFAULT, block_size: int = 16
) -> Router:
    """A router that has sent nothing yet. `block_size` is the replicas', in tokens.

    InputError where its news shall be old, and it takes none.
    """
    draws = Draws(np.random.default_rng([options.seed, _STREAM]))
    router = ROUTERS[routing](RouterSetting(options, block_size, clock, draws))
    if not options.refresh_ms:
        return router
    if is_static(routing) or routing in _KEEPS_ACCOUNT:
        raise InputError(
            f"refresh_ms {options.refresh_ms:g} is nothing to {routing}, which does not ask the "
            "replicas what they are doing",
            hint="leave refresh_ms out, or take least_outstanding or prefix_affinity",
        )
    return ScrapedRouter(router, round(options.refresh_ms * 1e6), clock)
