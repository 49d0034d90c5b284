"""Fitting a calibration to measured runs: bounded, robust least squares on log latencies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.calibration import CalibratedSource, Calibration
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import Ledger, ledger
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.simulate import simulate
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.traces.workload import Workload

Values = NDArray[np.float64]
Progress = Callable[[str], None]

START = np.array([0.0, 0.0, 1.5, 10.0])
"""Where the fit starts, and what it returns to without evidence: ln of the factors, milliseconds a
step, microseconds a sequence."""
SPREAD = np.array([0.25, 0.25, 1.0, 10.0])
"""How far from there each is taken to lie beforehand."""
LOW = np.array([-0.7, -0.7, 0.0, 0.0])
HIGH = np.array([0.7, 0.7, 20.0, 200.0])
TRUST = np.array([0.20, 0.05])
"""Relative scatter taken for granted in a mean TTFT and a mean TPOT."""
HUBER = 1.5
"""Misfits beyond so many times TRUST count in proportion, not squared: a TTFT that the client
decides must not bend the rest."""
ROUNDS = 6
STEPS = np.array([0.03, 0.03, 0.1, 2.0])
"""Finite differences of the slopes."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A measured run: its requests and its mean latencies."""

    workload: Workload
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted coefficients, and forecast over measurement of (TTFT, TPOT) by observation."""

    calibration: Calibration
    before: Values
    after: Values
    left_out: Values | None
    """With coefficients from the other runs; None where there is one run alone."""


class Fitter:
    """Fits one deployment's calibration to its observations."""

    def __init__(
        self, deployment: Deployment, observations: Sequence[Observation], source: CostSource
    ) -> None:
        refuse_unmodelled(deployment)
        ranks = deployment.pipeline_parallel_size * deployment.data_parallel_size
        if ranks > 1 or deployment.drafting is not None:
            raise UnsupportedError(
                "a calibration to pipeline stages, data-parallel ranks or drafts is not fitted yet",
                hint="calibrate the same engine without them",
            )
        self._deployment = deployment
        self._observations = observations
        self._source = source
        self._memory: Ledger = ledger(deployment)

    def fit(self, say: Progress) -> Fit:
        """The fit. Errors are those of the simulation: what does not fit, what is not modelled."""
        place, before = START, self._log_ratios(START)
        ratios, slopes = before, np.zeros((*before.shape, len(START)))
        for turn in range(1, ROUNDS + 1):
            say(f"fitting, round {turn} of at most {ROUNDS}")
            slopes = self._slopes(place, ratios)
            tried = _solved(place, ratios, slopes)
            better = self._log_ratios(tried)
            if _objective(tried, better) >= _objective(place, ratios) - 1e-3:
                break
            place, ratios = tried, better
        say("leaving one run out at a time")
        left_out = self._left_out(place, ratios, slopes)
        return Fit(calibration_of(place), np.exp(before), np.exp(ratios), left_out)

    def ratios(self, calibration: Calibration) -> Values:
        """Forecast over measurement of (TTFT, TPOT) by observation."""
        return np.asarray(np.exp(self._log_ratios(place_of(calibration))), dtype=np.float64)

    def _left_out(self, place: Values, ratios: Values, slopes: Values) -> Values | None:
        """Each run forecast with one solution of the others' linearised problem."""
        if len(ratios) < 2:
            return None
        found = np.empty_like(ratios)
        for index in range(len(ratios)):
            others = np.arange(len(ratios)) != index
            solved = _solved(place, ratios[others], slopes[others])
            found[index] = self._log_ratio(self._cost(solved), self._observations[index])
        return np.exp(found)

    def _slopes(self, place: Values, ratios: Values) -> Values:
        slopes = np.empty((*ratios.shape, len(START)))
        for index, step in enumerate(STEPS):
            moved = place.copy()
            moved[index] += step if moved[index] + step <= HIGH[index] else -step
            change = self._log_ratios(moved) - ratios
            slopes[..., index] = change / (moved[index] - place[index])
        return slopes

    def _log_ratios(self, place: Values) -> Values:
        cost = self._cost(place)
        return np.array([self._log_ratio(cost, each) for each in self._observations])

    def _cost(self, place: Values) -> CompiledStepCost:
        calibration = calibration_of(place)
        source = CalibratedSource(self._source, calibration)
        return CompiledStepCost(self._deployment, source, calibration.host)

    def _log_ratio(self, cost: CompiledStepCost, seen: Observation) -> Values:
        result = simulate(self._deployment, seen.workload, cost=cost, memory=self._memory)
        forecast = np.array([result.ttft.mean, result.tpot.mean])
        measured = np.array([seen.ttft_s, seen.tpot_s])
        return np.asarray(np.log(forecast / measured), dtype=np.float64)


def calibration_of(place: Values) -> Calibration:
    """The calibration at a place of the fit."""
    bandwidth, compute = np.exp(place[:2])
    return Calibration(
        float(bandwidth), float(compute), float(place[2]) * 1e-3, float(place[3]) * 1e-6
    )


def place_of(calibration: Calibration) -> Values:
    """The place of a calibration: `calibration_of` turned round."""
    c = calibration
    factors = np.log([c.bandwidth_factor, c.compute_factor])
    return np.array([*factors, c.host_step_s * 1e3, c.host_sequence_s * 1e6])


def _objective(place: Values, ratios: Values) -> float:
    size = np.abs(ratios / TRUST)
    misfit = float(np.where(size < HUBER, size**2, 2 * HUBER * size - HUBER**2).sum())
    return misfit + float((((place - START) / SPREAD) ** 2).sum())


def _solved(place: Values, ratios: Values, slopes: Values) -> Values:
    """The bounded minimum of the linearised objective, by cycling over the coordinates."""
    misfit = (ratios / TRUST).reshape(-1)
    weights = np.sqrt(HUBER / np.maximum(np.abs(misfit), HUBER))
    rows = (slopes / TRUST[:, None]).reshape(-1, len(START)) * weights[:, None]
    wanted = rows @ place - misfit * weights
    hessian = rows.T @ rows + np.diag(SPREAD**-2.0)
    target = rows.T @ wanted + START / SPREAD**2
    found = place.copy()
    for _ in range(2000):
        for index in range(len(found)):
            rest = target[index] - hessian[index] @ found + hessian[index, index] * found[index]
            found[index] = min(max(rest / hessian[index, index], LOW[index]), HIGH[index])
    return found
