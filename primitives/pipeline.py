"""A replica cut into pipeline stages: which layers each has, and what a step costs there."""

from __future__ import annotations

from dataclasses import replace

from servecast.errors import UnsupportedError
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.step_cost import CompiledStepCost

NO_HOST = HostTime(0.0, 0.0)
"""Of the stages after the first: the engine's loop hands a batch to the pipeline once."""


def stage_layers(layers: int, stages: int) -> list[int]:
    """Layers of each stage as vLLM 0.32.0 cuts them: what is left over goes to the later stages,
    but for the last, which has the head."""
    cut = [layers // stages] * stages
    for place in range(layers % stages):
        cut[-2 - place] += 1
    return cut


def stage_deployments(deployment: Deployment) -> list[Deployment]:
    """Each stage as a deployment of its own layers, in the order in which a batch passes them.

    Raises UnsupportedError where it is not known which layers a stage has.
    """
    model, stages = deployment.model, deployment.pipeline_parallel_size
    if stages == 1:
        return [deployment]
    if len(model.layers) != 1:
        raise UnsupportedError(
            f"pipeline stages of {model.name} are not priced yet: it has layers of "
            f"{len(model.layers)} kinds, and their order is not known",
            hint="set pipeline_parallel_size to 1",
        )
    group = model.layers[0]
    return [
        replace(
            deployment,
            model=replace(model, layers=(replace(group, count=count),)),
            pipeline_parallel_size=1,
        )
        for count in stage_layers(group.count, stages)
    ]


def leaves_node(deployment: Deployment, stage: int) -> bool:
    """Whether a rank of this stage hands its batches to one on another node.

    Ranks are numbered as vLLM does: those of a stage are neighbours, stage after stage.
    """
    size, domain = deployment.tensor_parallel_size, deployment.accelerator.link.domain
    ranks = range(stage * size, (stage + 1) * size)
    return any(rank // domain != (rank + size) // domain for rank in ranks)


def stage_costs(
    deployment: Deployment, source: CostSource, host: HostTime | None = None
) -> list[CompiledStepCost]:
    """What a step costs in each stage, the engine's host time in the first.

    A stage reads its tokens, passes its layers and hands them on; the last one has the head.

    Raises UnsupportedError as `stage_deployments` does, and where a stage's network is not known.
    """
    *others, last = stage_deployments(deployment)
    costs = [
        CompiledStepCost(
            stage,
            source,
            host if place == 0 else NO_HOST,
            samples=False,
            leaves_node=leaves_node(deployment, place),
        )
        for place, stage in enumerate(others)
    ]
    return [*costs, CompiledStepCost(last, source, NO_HOST if others else host)]
