"""A fleet: pools of replicas that serve one workload together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    classes: tuple[str, ...] = ()
    """The classes of requests that it serves; none stated: all that no other pool states."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pools that differ in their accelerators, sizes, roles or models.

    Those that serve the same classes share a router. InputError where they cannot take the same
    requests.
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
        for name in ("block_size", "enable_prefix_caching"):
            _require_one(name, self.pools)
        for pools in self.services.values():
            _require_one("max_model_len", pools)
        self._require_one_home()
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

    def _require_both_sides(self) -> None:
        for pools in self.services.values():
            roles = {pool.role for pool in pools}
            if roles not in ({"both"}, {"prefill", "decode"}):
                raise InputError(
                    f"requests find no way through pools of the roles {', '.join(sorted(roles))}",
                    hint="give some pools the role `prefill`, all others `decode`, or all `both`",
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

    @property
    def services(self) -> Mapping[tuple[str, ...], tuple[Pool, ...]]:
        """The pools that share a router, by the classes that they serve."""
        together: dict[tuple[str, ...], tuple[Pool, ...]] = {}
        for pool in self.pools:
            key = tuple(sorted(pool.classes))
            together[key] = (*together.get(key, ()), pool)
        return together

    def _require_one_home(self) -> None:
        homes = [name for classes in self.services for name in classes]
        for name in homes:
            if homes.count(name) > 1:
                raise InputError(
                    f"class `{name}` is served by pools whose `classes` differ",
                    hint="let pools that share a class state the same `classes`",
                )


def _require_one(field: str, pools: Sequence[Pool]) -> None:
    stated = {pool.name: getattr(pool.deployment, field) for pool in pools}
    if len(set(stated.values())) > 1:
        each = ", ".join(f"{name}: {value}" for name, value in stated.items())
        raise InputError(
            f"pools that serve the same requests differ in {field} ({each})",
            hint=f"state `{field}` under `deployment`, once for all of them",
        )
