"""A fleet: pools of replicas that serve one workload together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment, Routing

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

    def __post_init__(self) -> None:
        names = [pool.name for pool in self.pools]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two pools are called `{name}`", hint="give each a name")
        for field in ("max_model_len", "block_size", "enable_prefix_caching"):
            self._require_one(field)

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
