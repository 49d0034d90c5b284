"""A fleet: pools of replicas that serve one workload together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from servecast.errors import InputError, UnsupportedError, nearest
from servecast.primitives.deployment import Deployment, Routing
from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.transfer import Transfer

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
    transfer: Transfer | None = None
    """Between pools that prefill and pools that decode; None: what `Transfer` defaults to."""

    def __post_init__(self) -> None:
        names = [pool.name for pool in self.pools]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two pools are called `{name}`", hint="give each a name")
        for name in ("max_model_len", "block_size", "enable_prefix_caching"):
            self._require_one(name)
        self._require_both_sides()
        for change in self.changes:
            if change.pool not in names:
                near = nearest(change.pool, names)
                raise InputError(
                    f"there is no pool `{change.pool}` to change",
                    hint=f"did you mean `{near}`?" if near else f"pools: {', '.join(names)}",
                )

    @property
    def is_disaggregated(self) -> bool:
        """Whether prompts and outputs are computed by different pools."""
        return any(pool.role != "both" for pool in self.pools)

    @property
    def gpus(self) -> int:
        """Accelerators that it occupies at the start."""
        return sum(pool.deployment.gpus for pool in self.pools)

    def _require_both_sides(self) -> None:
        roles = {pool.role for pool in self.pools}
        if roles not in ({"both"}, {"prefill", "decode"}):
            raise InputError(
                f"a request would find no way through pools of the roles {', '.join(sorted(roles))}",
                hint="give some pools the role `prefill` and all others `decode`, or all `both`",
            )
        if self.transfer is not None and not self.is_disaggregated:
            raise InputError(
                "a transfer between pools is described, and every pool serves requests whole",
                hint="give pools the roles `prefill` and `decode`, or leave `transfer` out",
            )
        if self.changes and self.is_disaggregated:
            raise UnsupportedError(
                "pools that prefill or decode and gain or lose replicas are not simulated",
                hint="leave their autoscaling, failures and updates out",
            )

    def _require_one(self, field: str) -> None:
        stated = {pool.name: getattr(pool.deployment, field) for pool in self.pools}
        if len(set(stated.values())) > 1:
            each = ", ".join(f"{name}: {value}" for name, value in stated.items())
            raise InputError(
                f"pools that serve the same requests differ in {field} ({each})",
                hint=f"state `{field}` under `deployment`, once for all of them",
            )
