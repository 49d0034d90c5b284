"""The roofline's own efficiencies as they would be without one group's points.

They were chosen by hand on points of the sample; what ships is not changed here. The linearised
problem of all groups is solved with and without each group, and the difference is applied to what
ships: a jackknife, which says how far forecasts of a group lean on its own points. Efficiencies of
experts are left as they are: they come from kernel tables, not from servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.coefficient_problem import Problem, Unknown, Values
from benchmarks.development_part import group_of
from benchmarks.fit_coefficients import log_ratios
from servecast.primitives.coefficients import shipped
from servecast.primitives.roofline import RooflineCoefficients, RooflineSource
from servecast.profiler.measured_points import Measured

SHARES = (
    *("gemm_flops", "gemm_flops_narrow", "gemm_bandwidth", "attention_flops"),
    *("attention_bandwidth", "elementwise_bandwidth", "link_bandwidth"),
)
LATENCIES = ("operation_s", "all_reduce_s", "all_reduce_rank_s")
"""Chosen on dense servers, as are the shares."""

UNKNOWNS = tuple(
    Unknown(name, 1.0, 0.5, 2.0, 0.25, 0.05, is_factor=True, default_value=1.0)
    for name in (*SHARES, *LATENCIES)
)
"""Factors on what ships."""


def left_out_rooflines(rows: Sequence[Measured]) -> dict[str, RooflineCoefficients]:
    """Every group of the rows with the efficiencies that all other groups lead to."""
    found = roofline_problem(rows)
    with_all = found.solved()
    return {name: moved(place - with_all) for name, place in found.left_out()}


def roofline_problem(rows: Sequence[Measured]) -> Problem:
    """Ratios and slopes at the roofline that ships."""
    here = _log_ratios(rows, np.zeros(len(UNKNOWNS)))
    slopes = np.zeros((*here.shape, len(UNKNOWNS)))
    for index, unknown in enumerate(UNKNOWNS):
        place = np.zeros(len(UNKNOWNS))
        place[index] = unknown.step
        slopes[..., index] = np.nan_to_num(_log_ratios(rows, place) - here) / unknown.step
    groups = np.array([group_of(row.point) for row in rows])
    return Problem(UNKNOWNS, np.zeros(len(UNKNOWNS)), here, slopes, groups)


def moved(place: Values) -> RooflineCoefficients:
    """What ships times these factors (by their logarithm); no share of a peak is above 1."""
    ships = RooflineCoefficients()
    factors = dict(zip((each.name for each in UNKNOWNS), np.exp(place).tolist(), strict=True))
    shares = {name: min(1.0, getattr(ships, name) * factors[name]) for name in SHARES}
    latencies = {name: getattr(ships, name) * factors[name] for name in LATENCIES}
    return replace(ships, **shares, **latencies)


def _log_ratios(rows: Sequence[Measured], place: Values) -> Values:
    source = RooflineSource(moved(place))
    return log_ratios(rows, lambda _: source, shipped("roofline"))
