"""The front of a fleet whose pools prefill or decode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import simpy

from servecast.simulator.connected_engine import ConnectedEngine
from servecast.simulator.fleet.disaggregated import Disaggregated, Side
from servecast.simulator.fleet.fleet import Fleet, Role
from servecast.simulator.fleet.member import Member
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.fleet.transfer import Transfer, Way
from servecast.simulator.request import Request


def two_sides(
    fleet: Fleet,
    members: Sequence[Member],
    env: simpy.Environment,
    on_finish: Callable[[Request], None] | None = None,
) -> Disaggregated:
    """Those members who serve the same requests, behind two routers of one kind, and what carries
    KV caches between them.

    InputError where two pools keep caches of different kinds, UnsupportedError where a link's rate
    is not known.
    """
    transfer = fleet.transfer or Transfer()
    pools = {member.engine.number: member.pool for member in members}
    ways = {
        (first.name, second.name): Way(transfer, first.deployment, second.deployment)
        for first in pools.values()
        for second in pools.values()
        if (first.role, second.role) == ("prefill", "decode")
    }

    def way(sender: int, receiver: int) -> Way:
        return ways[pools[sender].name, pools[receiver].name]

    def side(role: Role) -> Side:
        of_role = [member for member in members if member.pool.role == role]
        router = router_of(
            fleet.routing,
            lambda: int(env.now),
            fleet.routing_options,
            of_role[0].pool.deployment.block_size,
        )
        return Side([e for m in of_role if isinstance(e := m.engine, ConnectedEngine)], router)

    return Disaggregated(env, side("prefill"), side("decode"), transfer, way, on_finish)
