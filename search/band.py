"""How sure an answer is: model error and sampling error, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.cost import Cost, CostSource
from servecast.primitives.host_time import HostTime
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import Operation, Quantity
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.metrics import batched_half_width
from servecast.simulator.result import Result
from servecast.simulator.served import Served
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo
from servecast.traces.workload import Workload

Again = Callable[[CostSource, HostTime], Result]
"""Runs the same deployment and workload at other costs."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What a deployment reaches against one SLO, in the unit of its threshold."""

    slo: Slo
    value: float
    low: float
    high: float
    """The value if every step were faster, or slower, by the cost source's relative error; the
    value itself where other batches make both better, or worse."""
    sampling: float
    """95 % half-width from the finite workload; NaN where it is too short to tell."""

    @property
    def is_met(self) -> bool:
        """Whether the forecast itself meets the SLO."""
        return self.slo.met_by(self.value)

    @property
    def is_safe(self) -> bool:
        """Whether it is met at both ends of the band."""
        return self.slo.met_by(self.low) and self.slo.met_by(self.high)


class Scaled:
    """A cost source whose every cost is another's times a factor."""

    def __init__(self, source: CostSource, factor: float) -> None:
        self._source = source
        self._factor = factor

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The other source's cost, scaled."""
        cost = self._source.cost(operation, device)
        return Cost(cost.seconds * self._factor, cost.provenance, cost.relative_error)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        return self._source.seconds(operation, device) * self._factor

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """The other source's: factors on both sides of a ratio cancel out."""
        return self._source.mixed_ratio(attention, device)


def reached(
    result: Result,
    workload: Workload,
    slos: Sequence[Slo],
    source: CostSource,
    error: float,
    host: HostTime | None = None,
    again: Again | None = None,
) -> list[Reached]:
    """Each SLO's value with its band, by running again with all steps `error` faster, slower.

    Queues amplify a model error, so scaling the latencies themselves would understate the band.
    What runs again is the simulator, where no other is given.
    """
    host = host or HostTime.of(result.deployment)
    again = again or _simulated(result, workload)
    fast, slow = (
        again(Scaled(source, factor), _scaled(host, factor)) for factor in (1 - error, 1 + error)
    )
    return banded(result, slos, fast, slow)


def banded(result: Served, slos: Sequence[Slo], fast: Served, slow: Served) -> list[Reached]:
    """Each SLO's value with its band, from two runs with faster and with slower steps."""
    bands: list[Reached] = []
    for slo in slos:
        value, sampling = result.reached(slo, slos), _sampling(result, slo, slos)
        low, _, high = sorted((fast.reached(slo, slos), value, slow.reached(slo, slos)))
        bands.append(Reached(slo, value, low, high, sampling))
    return bands


def fleet_reached(
    result: FleetResult,
    workload: Workload,
    slos: Sequence[Slo],
    source: CostSource,
    error: float,
) -> list[Reached]:
    """As `reached`, of a fleet whose engines take the host time of their defaults."""

    def again(factor: float) -> FleetResult:
        return simulate_fleet(
            result.fleet,
            workload,
            source=Scaled(source, factor),
            host=lambda deployment: _scaled(HostTime.of(deployment), factor),
        )

    return banded(result, slos, again(1 - error), again(1 + error))


def _simulated(result: Result, workload: Workload) -> Again:
    return lambda source, host: simulate(result.deployment, workload, source=source, host=host)


def _scaled(host: HostTime, factor: float) -> HostTime:
    return HostTime(**{name: seconds * factor for name, seconds in asdict(host).items()})


def _sampling(result: Served, slo: Slo, slos: Sequence[Slo]) -> float:
    if slo.metric in ("throughput", "goodput", "itl"):
        return float("nan")
    return batched_half_width(result.records, lambda part: result.among(part).reached(slo, slos))
