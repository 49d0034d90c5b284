"""A fleet: pools of replicas that serve one workload together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from servecast.errors import InputError, nearest
from servecast.primitives.deployment import Deployment, Routing
from servecast.primitives.routing_options import RoutingOptions

if TYPE_CHECKING:
    from servecast.simulator.fleet.change import Change

Role = Literal["both", "prefill", "decode"]
"""What a pool does with a request: all of it, its prompt alone, or all its tokens but the first."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas that are alike."""

    name: str
    deployment: Deployment
    """With the number of replicas to start with."""
    role: Role = "both"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pools that differ in their accelerators, sizes or roles, behind one router.

    InputError where they cannot take the same requests.
    """

    pools: tuple[Pool, ...]
    routing: Routing = "round_robin"
    routing_options: RoutingOptions = field(default_factory=RoutingOptions)
    changes: tuple[Change, ...] = ()
    """What starts and stops replicas while they serve."""

    def __post_init__(self) -> None:
        names = [pool.name for pool in self.pools]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two pools are called `{name}`", hint="give each a name")
        for name in ("max_model_len", "block_size", "enable_prefix_caching"):
            self._require_one(name)
        for change in self.changes:
            if change.pool not in names:
                near = nearest(change.pool, names)
                raise InputError(
                    f"there is no pool `{change.pool}` to change",
                    hint=f"did you mean `{near}`?" if near else f"pools: {', '.join(names)}",
                )

    @property
    def gpus(self) -> int:
        """Accelerators that it occupies at the start."""
        return sum(pool.deployment.gpus for pool in self.pools)

    def _require_one(self, field: str) -> None:
        stated = {pool.name: getattr(pool.deployment, field) for pool in self.pools}
        if len(set(stated.values())) > 1:
            each = ", ".join(f"{name}: {value}" for name, value in stated.items())
            raise InputError(
                f"pools that serve the same requests differ in {field} ({each})",
                hint=f"state `{field}` under `deployment`, once for all of them",
            )
