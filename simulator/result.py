"""What one evaluation of a deployment found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.energy import Energy, energy
from servecast.simulator.served import Served
from servecast.simulator.tier_use import TierUse


@dataclass(frozen=True)
class Result(Served):
    """One run of a deployment under a workload."""

    deployment: Deployment
    cost: StepCost
    num_blocks: int
    """KV blocks that requests of one replica could hold."""
    peak_blocks: int
    tier_uses: Sequence[TierUse] = ()
    """Of each replica that keeps KV blocks in its host's memory."""

    @property
    def gpu_hours(self) -> float:
        """All its GPUs, from the first arrival to the last token."""
        return self.deployment.gpus * self.duration_s / 3600.0

    @property
    def usd_spent(self) -> float:
        """The price of those hours; NaN where none is known."""
        price = self.deployment.usd_per_gpu_hour
        return float("nan") if price is None else self.gpu_hours * price

    @cached_property
    def energy(self) -> Energy | None:
        """What all its GPUs drew; None where that is not known."""
        return energy(self.deployment, self.logs, self.duration_s)

    @property
    def wh_spent(self) -> float:
        """The same in Wh; NaN where it is not known."""
        return float("nan") if self.energy is None else self.energy.wh

    @property
    def caches_prefixes(self) -> bool:
        """Whether its engines have a prefix cache."""
        return self.deployment.enable_prefix_caching

    @property
    def _step_costs(self) -> Sequence[StepCost]:
        return [self.cost] * len(self.logs)
