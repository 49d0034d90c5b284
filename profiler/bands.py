"""How wide forecasts of benchmark points are: bands that hold nine measurements of ten.

`python -m benchmarks.band_widths PRED MEASURED` recomputes the table from a file of predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

from servecast.primitives import catalogue
from servecast.primitives.cost import Provenance
from servecast.primitives.memory_priors import has_experts
from servecast.profiler.silicon_points import SiliconPoint

TAIL = 0.03
"""Share of a family's measurements left out on either side. Not 0.05: with that, models, GPUs and
engines that took no part in the fit are covered too seldom (83 to 88 % instead of 90)."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a user knows before measuring, and what decides how far off a forecast is.

    The engine is not part of it: widths by engine cover groups outside the fit worse.
    """

    has_tables: bool
    """A decode step's time comes from measured tables, not from the roofline."""
    has_experts: bool
    is_own_sweep: bool
    """The server's flags and the client are unknown."""


@dataclass(frozen=True, slots=True)
class Band:
    """Factors on a forecast between which the measurement is expected."""

    low: float
    high: float

    def around(self, forecast_ms: float) -> tuple[float, float]:
        """Lower and upper end, in ms."""
        return forecast_ms * self.low, forecast_ms * self.high


# Fitted on the development part of the public silicon sample, each family's points alike.
# (tables, experts)
TPOT = {
    (False, False): Band(0.79, 1.24),
    (False, True): Band(0.67, 2.20),
    (True, False): Band(0.77, 1.31),
    (True, True): Band(0.57, 1.45),
}
# (tables, experts, own sweep)
TTFT = {
    (False, False, False): Band(0.73, 1.77),
    (False, False, True): Band(0.18, 5.79),
    (False, True, False): Band(0.80, 7.92),
    (False, True, True): Band(0.58, 6.50),
    (True, False, False): Band(0.85, 1.62),
    (True, False, True): Band(0.22, 5.44),
    (True, True, False): Band(0.66, 6.43),
    (True, True, True): Band(0.31, 3.08),
}


def family_of(point: SiliconPoint, provenance: str) -> Family:
    """The family of a forecast. InputError where the catalogue lacks the model."""
    has_tables = provenance != Provenance.ROOFLINE.value
    return Family(has_tables, has_experts(catalogue.model(point.model)), point.is_own_sweep)


def tpot_band(family: Family) -> Band:
    """The band of mean TPOT."""
    return TPOT[family.has_tables, family.has_experts]


def ttft_band(family: Family) -> Band:
    """The band of mean TTFT."""
    return TTFT[family.has_tables, family.has_experts, family.is_own_sweep]
