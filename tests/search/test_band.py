"""How sure an answer is: the band of the model's error and the error of a finite workload."""

from __future__ import annotations

import math

import pytest

from servecast.primitives.roofline import RooflineSource
from servecast.search.band import Reached, Scaled, reached
from servecast.simulator.simulate import simulate
from servecast.traces.reshape import closed_loop
from tests.search_cases import BASE, slos, workload

TRAFFIC = workload(requests=300, rate=4)
RESULT = simulate(BASE, TRAFFIC)
LIMITS = slos("ttft:p95 < 800ms", "tpot:mean < 60ms", "attainment > 90%", "throughput > 1 tok/s")


def bands(error: float) -> list[Reached]:
    return reached(RESULT, TRAFFIC, LIMITS, RooflineSource(), error)


def test_the_forecast_is_the_run_that_was_made() -> None:
    for band in bands(0.2):
        assert band.value == RESULT.reached(band.slo, LIMITS)


def test_the_band_holds_the_forecast_and_grows_with_the_error() -> None:
    for small, large in zip(bands(0.1), bands(0.3), strict=True):
        assert small.low <= small.value <= small.high
        assert large.low <= small.low <= small.high <= large.high


def test_a_model_without_error_has_no_band() -> None:
    for band in bands(0.0):
        assert band.low == pytest.approx(band.value, rel=1e-6)
        assert band.high == pytest.approx(band.value, rel=1e-6)


def test_latencies_grow_by_more_than_the_steps_where_queues_amplify() -> None:
    busy = workload(requests=300, rate=11)
    ttft = reached(simulate(BASE, busy), busy, LIMITS, RooflineSource(), 0.2)[0]
    assert ttft.high / ttft.value > 1.2


def test_low_is_below_high_for_floors_too() -> None:
    """More attainment comes of faster steps: the ends are ordered by value, not by speed."""
    attainment = bands(0.5)[2]
    assert attainment.low <= attainment.high


def test_sampling_error_is_told_for_latencies_and_attainment_alone() -> None:
    ttft, tpot, attainment, throughput = bands(0.1)
    assert 0 < ttft.sampling < ttft.value
    assert 0 < tpot.sampling < tpot.value
    assert attainment.sampling >= 0
    assert math.isnan(throughput.sampling)


def test_a_workload_too_short_to_tell_says_so() -> None:
    short = closed_loop(workload(requests=5), 1)
    (band,) = reached(simulate(BASE, short), short, slos("ttft:p95 < 1s"), RooflineSource(), 0.1)
    assert math.isnan(band.sampling)


def test_met_and_safe_are_two_things() -> None:
    (slo,) = slos("ttft:p95 < 500ms")
    assert Reached(slo, 0.4, 0.3, 0.45, 0.0).is_safe
    crossing = Reached(slo, 0.4, 0.3, 0.6, 0.0)
    assert crossing.is_met
    assert not crossing.is_safe
    assert not Reached(slo, 0.6, 0.4, 0.8, 0.0).is_met


def test_no_slo_no_band() -> None:
    assert reached(RESULT, TRAFFIC, [], RooflineSource(), 0.2) == []


def test_a_scaled_source_scales_every_cost_and_keeps_where_it_came_from() -> None:
    from servecast.primitives.dtype import Dtype
    from servecast.primitives.operations import Gemm

    gemm = Gemm(16, 1024, 1024, Dtype.BF16)
    one = RooflineSource().cost(gemm, BASE.accelerator)
    twice = Scaled(RooflineSource(), 2.0).cost(gemm, BASE.accelerator)
    assert twice.seconds == pytest.approx(2 * one.seconds)
    assert twice.provenance == one.provenance
    assert twice.relative_error == one.relative_error
