"""The routers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
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
_READS: Mapping[Routing, tuple[str, ...]] = MappingProxyType(
    {
        "least_outstanding": ("refresh_ms",),
        "power_of_two": ("refresh_ms",),
        "least_kv": ("refresh_ms",),
        "sticky_sessions": ("refresh_ms",),
        "prefix_affinity": (
            "refresh_ms",
            "prefix_weight",
            "kv_weight",
            "queue_weight",
            "index_tokens",
        ),
        "kv_overlap": ("overlap_weight", "index_tokens"),
    }
)
"""The options that each router reads, beside the seed."""
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

    InputError where it would not read an option that is set.
    """
    require_read((routing,), options)
    draws = Draws(np.random.default_rng([options.seed, _STREAM]))
    router = ROUTERS[routing](RouterSetting(options, block_size, clock, draws))
    if not options.refresh_ms:
        return router
    return ScrapedRouter(router, round(options.refresh_ms * 1e6), clock)


def read_by(routing: Routing, options: RoutingOptions) -> RoutingOptions:
    """The options that a router reads, all others at their defaults."""
    read = {name: getattr(options, name) for name in ("seed", *_READS.get(routing, ()))}
    return RoutingOptions(**read)


def require_read(routings: Sequence[Routing], options: RoutingOptions) -> None:
    """InputError where an option is set that none of these routers reads."""
    read = {name for routing in routings for name in ("seed", *_READS.get(routing, ()))}
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name not in read and value != field.default:
            takers = [name for name, names in _READS.items() if field.name in names]
            raise InputError(
                f"routing option {field.name} {value:g} is nothing to {' or '.join(routings)}",
                hint=f"leave it out, or set routing to {' or '.join(takers)}",
            )
