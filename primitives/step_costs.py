"""Compiled step costs, one for each distinct model, device, sharding and format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafted_cost import with_drafts
from servecast.primitives.host_time import HostTime
from servecast.primitives.speculation import DraftModel
from servecast.primitives.step_cost import CompiledStepCost, StepCost

Drafts = tuple[int, DraftModel | None]
Exchanging = tuple[int, bool, str, float]
Key = tuple[str, str, int, Exchanging, str, str, bool, str, Drafts]


class StepCosts:
    """Gives every deployment its step cost, compiled with room for the largest limits seen.

    Deployments named at the start are compiled once; a larger one later is compiled again.
    """

    def __init__(
        self,
        source: CostSource,
        deployments: Iterable[Deployment] = (),
        host: HostTime | None = None,
    ) -> None:
        """`host` is the engine's own; left out, the default."""
        self.source = source
        self._host = host
        self._compiled: dict[Key, CompiledStepCost] = {}
        self._drafted: dict[Key, StepCost] = {}
        self._largest: dict[Key, Deployment] = {}
        self.make_room(deployments)

    def make_room(self, deployments: Iterable[Deployment]) -> None:
        """Have the limits of all these fit, so that asking for them compiles once."""
        for deployment in deployments:
            if self._grow(deployment):
                self._compiled.pop(step_cost_key(deployment), None)
                self._drafted.pop(step_cost_key(deployment), None)

    def of(self, deployment: Deployment) -> CompiledStepCost:
        """The step cost of `deployment`, shared with all that differ in the scheduler's limits.

        Where it drafts, that of the target alone.
        """
        key = step_cost_key(deployment)
        self.make_room([deployment])
        if key not in self._compiled:
            self._compiled[key] = CompiledStepCost(self._largest[key], self.source, self._host)
        return self._compiled[key]

    def with_drafts(self, deployment: Deployment) -> StepCost:
        """The same with what drafting takes, where it drafts."""
        key, target = step_cost_key(deployment), self.of(deployment)
        if key not in self._drafted:
            self._drafted[key] = with_drafts(self._largest[key], target, self.source)
        return self._drafted[key]

    def _grow(self, deployment: Deployment) -> bool:
        """Make room for the deployment's limits; whether there was too little."""
        key = step_cost_key(deployment)
        known = self._largest.get(key)
        if known is None:
            self._largest[key] = deployment
            return True
        seqs = max(known.max_num_seqs, deployment.max_num_seqs)
        tokens = max(known.max_num_batched_tokens, deployment.max_num_batched_tokens)
        if (seqs, tokens) == (known.max_num_seqs, known.max_num_batched_tokens):
            return False
        self._largest[key] = replace(known, max_num_seqs=seqs, max_num_batched_tokens=tokens)
        return True


def step_cost_key(deployment: Deployment) -> Key:
    """What a step's cost depends on, the limits of the scheduler aside."""
    return (
        deployment.model.name,
        deployment.accelerator.name,
        deployment.tensor_parallel_size,
        (
            deployment.data_parallel_size,
            deployment.enable_expert_parallel,
            deployment.all2all_backend,
            deployment.expert_imbalance,
        ),
        deployment.weights_dtype,
        deployment.kv_cache_dtype,
        deployment.schedules_ahead,
        deployment.experts_kernel,
        (deployment.num_drafts, deployment.drafting.draft if deployment.drafting else None),
    )
