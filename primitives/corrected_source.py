"""A cost source with the shipped corrections of its device times."""

from __future__ import annotations

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.calibration import CalibratedSource, Calibration, compute_share
from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.cost import Cost, CostSource
from servecast.primitives.dtype import Dtype
from servecast.primitives.mixed_attention import MixedRatio
from servecast.primitives.model import Attention
from servecast.primitives.operations import MoeExperts, Operation, Quantity
from servecast.primitives.roofline import RooflineSource


class CorrectedSource:
    """A cost source whose costs are another's times the factors of a set of coefficients."""

    def __init__(self, source: CostSource, coefficients: Coefficients) -> None:
        self._source = source
        self._coefficients = coefficients

    def cost(self, operation: Operation, device: Accelerator) -> Cost:
        """The other source's cost times the operation's factor."""
        cost = self._source.cost(operation, device)
        factor = self._factor(operation, device)
        return Cost(cost.seconds * factor, cost.provenance, cost.relative_error)

    def seconds(self, operation: Operation, device: Accelerator) -> Quantity:
        """The seconds of `cost` alone."""
        return self._source.seconds(operation, device) * self._factor(operation, device)

    def mixed_ratio(self, attention: Attention, device: Accelerator) -> MixedRatio | None:
        """The other source's: factors on both sides of a ratio cancel out."""
        return self._source.mixed_ratio(attention, device)

    def _factor(self, operation: Operation, device: Accelerator) -> Quantity:
        c = self._coefficients
        compute = c.compute_factor
        if Dtype.NVFP4 in device.flops:
            compute *= c.blackwell_compute_factor
        if isinstance(operation, MoeExperts):
            compute *= c.experts_compute_factor
        share = compute_share(operation, device)
        return c.bandwidth_factor + (compute - c.bandwidth_factor) * share


def corrected(source: CostSource, coefficients: Coefficients) -> CostSource:
    """The source with its corrections: itself where there are none."""
    return CorrectedSource(source, coefficients) if coefficients.corrects_device else source


def kind_of(source: CostSource) -> CostKind:
    """Which set of coefficients was fitted for these costs."""
    return "roofline" if isinstance(source, RooflineSource) else "tables"


def default_source(calibration: Calibration | None = None) -> CostSource:
    """What prices steps where no tables are asked for.

    The roofline, corrected by a user's own calibration, or else by the coefficients that ship.
    """
    if calibration is not None:
        return CalibratedSource(RooflineSource(), calibration)
    return corrected(RooflineSource(), shipped("roofline"))
