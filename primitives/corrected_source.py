"""A cost source with the shipped corrections of its device times."""

from __future__ import annotations

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.calibration import CalibratedSource, Calibration, compute_share
from servecast.primitives.coefficients import Coefficients, CostKind, shipped
from servecast.primitives.cost import CostSource
from servecast.primitives.dtype import Dtype
from servecast.primitives.operations import MoeExperts, Operation, Quantity
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.scaled_source import ScaledSource


class CorrectedSource(ScaledSource):
    """A cost source whose costs are another's times the factors of a set of coefficients."""

    def __init__(self, source: CostSource, coefficients: Coefficients) -> None:
        super().__init__(source)
        self._coefficients = coefficients

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
