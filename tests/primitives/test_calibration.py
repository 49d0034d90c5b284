"""A calibration scales what it says and leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.primitives import catalogue
from servecast.primitives.calibration import CalibratedSource, Calibration
from servecast.primitives.dtype import Dtype
from servecast.primitives.host_time import HostTime
from servecast.primitives.operations import AllReduce, DecodeAttention, Elementwise, Gemm, Operation
from servecast.primitives.roofline import RooflineSource

H100 = catalogue.accelerator("h100_sxm")
ROOFLINE = RooflineSource()


def factor(operation: Operation, calibration: Calibration) -> float:
    cost = CalibratedSource(ROOFLINE, calibration).cost(operation, H100)
    return float(cost.seconds / ROOFLINE.cost(operation, H100).seconds)


def test_the_default_changes_nothing() -> None:
    for operation in (Gemm(64.0, 4096, 4096, Dtype.FP8), Elementwise(1e6), AllReduce(1e6, 4)):
        assert factor(operation, Calibration()) == 1.0
    assert Calibration().host == HostTime()


def test_each_factor_scales_its_own_kind_of_work() -> None:
    slow_memory, slow_compute = Calibration(bandwidth_factor=2.0), Calibration(compute_factor=2.0)
    decode = DecodeAttention(8, 4096.0, 32, 8, 128, 128, Dtype.BF16)
    prompt = Gemm(8192.0, 8192, 8192, Dtype.BF16)
    assert factor(decode, slow_memory) > 1.95
    assert factor(decode, slow_compute) < 1.05
    assert factor(prompt, slow_memory) < 1.2
    assert factor(prompt, slow_compute) > 1.8
    for moved in (Elementwise(1e6), AllReduce(1e6, 4)):
        assert factor(moved, slow_memory) == pytest.approx(2.0)


def test_a_curve_over_tokens_still_rises() -> None:
    tokens = np.arange(1.0, 4096.0)
    for one, other in ((1.3, 0.8), (0.8, 1.3)):
        source = CalibratedSource(ROOFLINE, Calibration(one, other))
        curve = np.asarray(source.cost(Gemm(tokens, 4096, 4096, Dtype.BF16), H100).seconds)
        drop = 1.0 - (curve / np.maximum.accumulate(curve)).min()
        assert drop < 0.12, "where the two bounds meet the roofline is flat, and the factors differ"
