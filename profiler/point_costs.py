"""Compiled step costs of points, kept for all points alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.corrected_source import corrected, kind_of
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.step_costs import StepCosts
from servecast.primitives.wave_cost import CompiledWaveCost
from servecast.profiler.launch import Launch

SourceOf = Callable[[Deployment], CostSource]
CoefficientsOf = Callable[[CostKind], Coefficients]


class PointCosts:
    """Gives a deployment and its launch their costs; the predictor asks for every point."""

    def __init__(
        self, source_of: SourceOf | None = None, coefficients_of: CoefficientsOf = shipped
    ) -> None:
        """`source_of` gives the costs of a deployment; the roofline where it is left out."""
        roofline = RooflineSource()
        self._source_of: SourceOf = source_of or (lambda _: roofline)
        self._coefficients_of = coefficients_of
        self._costs: dict[tuple[CostSource, HostTime], StepCosts] = {}
        self._waves: dict[tuple[Deployment, CostSource, HostTime], CompiledWaveCost] = {}

    def make_room(self, deployment: Deployment, launch: Launch) -> None:
        """Have the limits of this deployment fit, so that asking for it compiles once."""
        self._alike(deployment, launch).make_room([deployment])

    def of(self, deployment: Deployment, launch: Launch) -> CompiledStepCost:
        """The cost of a replica's step, all of whose attention ranks compute as much."""
        return self._alike(deployment, launch).of(deployment)

    def wave(self, deployment: Deployment, launch: Launch) -> CompiledWaveCost:
        """The cost of a step of attention ranks that compute unequal parts."""
        source, host = self._priced_by(deployment, launch)
        key = (deployment, source, host)
        if key not in self._waves:
            fitted = self._coefficients_of(kind_of(source))
            self._waves[key] = CompiledWaveCost(deployment, corrected(source, fitted), host)
        return self._waves[key]

    def _alike(self, deployment: Deployment, launch: Launch) -> StepCosts:
        """The compiled costs of all points that share a source and the engine's host time."""
        source, host = key = self._priced_by(deployment, launch)
        if key not in self._costs:
            fitted = self._coefficients_of(kind_of(source))
            self._costs[key] = StepCosts(corrected(source, fitted), host=host)
        return self._costs[key]

    def _priced_by(self, deployment: Deployment, launch: Launch) -> tuple[CostSource, HostTime]:
        source = self._source_of(deployment)
        fitted = self._coefficients_of(kind_of(source))
        step_s = fitted.step_s(deployment.engine, is_asynchronous=launch.schedules_ahead)
        return source, replace(launch.host, step_s=step_s, sequence_s=fitted.sequence_s)
