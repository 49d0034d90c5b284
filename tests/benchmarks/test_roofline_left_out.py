"""How far the roofline leans on one group of points."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.roofline_left_out import SHARES, UNKNOWNS, left_out_rooflines, moved
from servecast.primitives.roofline import RooflineCoefficients
from servecast.profiler.measured_points import Measured
from servecast.profiler.predict import Predictor
from tests.profiler.silicon_rows import point

SHIPS = RooflineCoefficients()


def place(**factors: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.log([factors.get(each.name, 1.0) for each in UNKNOWNS])


def test_factors_move_what_ships_and_nothing_else() -> None:
    assert moved(place()) == SHIPS
    found = moved(place(gemm_bandwidth=0.5, operation_s=2.0))
    assert found.gemm_bandwidth == pytest.approx(SHIPS.gemm_bandwidth / 2)
    assert found.operation_s == pytest.approx(SHIPS.operation_s * 2)
    assert found.experts_flops == SHIPS.experts_flops


def test_no_share_of_a_peak_is_above_one() -> None:
    found = moved(place(**dict.fromkeys(SHARES, 2.0)))
    assert all(getattr(found, name) <= 1.0 for name in SHARES)


def test_a_slow_group_is_forecast_faster_when_it_takes_no_part() -> None:
    points = [
        point(point_id=f"{gpu}{load}", gpu=gpu, concurrency=str(load))
        for gpu in ("H100-SXM-80GB", "H200-SXM-141GB", "B200-180GB")
        for load in (1, 4)
    ]
    rows: list[Measured] = []
    for p, each in zip(points, Predictor().predict(points), strict=True):
        slower = 1.5 if p.gpu.startswith("H200") else 1.0
        assert each.tpot_ms is not None
        assert each.ttft_ms is not None
        rows.append(
            Measured(p, {"tpot_ms": each.tpot_ms * slower, "ttft_ms": each.ttft_ms * slower})
        )
    found = left_out_rooflines(rows)
    slow = found.pop("Llama-3.1-70B H200 vllm")
    assert len(found) == 2
    assert slow.gemm_bandwidth > SHIPS.gemm_bandwidth
    assert all(slow.gemm_bandwidth > each.gemm_bandwidth for each in found.values())
