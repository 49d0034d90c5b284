"""The fit finds coefficients with which runs were made, and is honest about those it cannot."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from servecast.primitives.calibration import CalibratedSource, Calibration
from servecast.primitives.roofline import RooflineSource
from servecast.search.calibrate import Fit, Fitter, Observation, calibration_of, place_of
from servecast.simulator.simulate import simulate
from servecast.traces.workload import Workload
from tests.toy_deployments import DENSE

LOADS = ((1, 1024, 64), (16, 1024, 128), (48, 256, 128), (32, 4000, 32))
TRUTH = Calibration(1.2, 0.85, 2.5e-3, 20e-6)


def closed_loop(clients: int, prompt: int, output: int) -> Workload:
    count = max(8, 3 * clients)
    outputs = np.full(count, output)
    prompts, arrivals = np.full(count, prompt), np.zeros(count, np.int64)
    return Workload("runs", arrivals, prompts, outputs, outputs, clients, 500_000)


def observed(truth: Calibration, loads: tuple[tuple[int, int, int], ...]) -> list[Observation]:
    source = CalibratedSource(RooflineSource(), truth)
    seen: list[Observation] = []
    for load in loads:
        workload = closed_loop(*load)
        result = simulate(DENSE, workload, source=source, host=truth.host)
        seen.append(Observation(workload, result.ttft.mean, result.tpot.mean))
    return seen


def fitted(truth: Calibration, loads: tuple[tuple[int, int, int], ...] = LOADS) -> Fit:
    return Fitter(DENSE, observed(truth, loads), RooflineSource()).fit(lambda _: None)


def worst(ratios: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.abs(np.log(ratios)).max())


def test_runs_of_a_known_server_are_forecast_after_the_fit() -> None:
    found = fitted(TRUTH)
    assert worst(found.before) > 0.1
    assert worst(found.after) < 0.04
    assert found.left_out is not None
    assert worst(found.left_out) < worst(found.before)


def test_a_server_like_the_model_is_left_as_it_is() -> None:
    found = fitted(Calibration())
    assert astuple(found.calibration) == pytest.approx(astuple(Calibration()))
    assert worst(found.before) == pytest.approx(0.0, abs=1e-9)


def test_a_calibration_and_its_place_are_each_others_inverse() -> None:
    assert astuple(calibration_of(place_of(TRUTH))) == pytest.approx(astuple(TRUTH))


def test_coefficients_stay_within_their_bounds() -> None:
    far = fitted(Calibration(6.0, 6.0, 0.0, 0.0)).calibration
    assert far.bandwidth_factor <= np.exp(0.7) + 1e-9
    assert far.host_step_s >= 0.0


def test_one_strange_run_does_not_bend_the_rest() -> None:
    seen = observed(TRUTH, LOADS)
    late = replace(seen[0], ttft_s=20 * seen[0].ttft_s)
    found = Fitter(DENSE, [late, *seen[1:]], RooflineSource()).fit(lambda _: None)
    assert worst(found.after[1:]) < worst(found.before[1:])
    assert worst(found.after[:, 1]) < 0.08


def test_one_run_alone_leaves_nothing_out() -> None:
    found = fitted(TRUTH, LOADS[:1])
    assert found.left_out is None
    assert worst(found.after) < worst(found.before)
