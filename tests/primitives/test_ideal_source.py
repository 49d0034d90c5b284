"""Steps at the peaks of the data sheet: what utilisation is measured against."""

from __future__ import annotations

import numpy as np

from servecast.primitives.batch import Batch, Group
from servecast.primitives.ideal_source import IdealSource
from servecast.primitives.operations import AllReduce, Elementwise
from servecast.primitives.pipeline import NO_HOST
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from tests.toy_deployments import DENSE, DEVICE


def test_links_take_nothing_and_reading_takes_bytes_over_bandwidth() -> None:
    source = IdealSource()
    assert source.seconds(AllReduce(1e9, 8), DEVICE) == 0.0
    assert float(np.asarray(source.cost(Elementwise(5e11), DEVICE).seconds)) == 0.5


def test_no_step_is_faster_than_ideal() -> None:
    ideal = CompiledStepCost(DENSE, IdealSource(), NO_HOST)
    real = CompiledStepCost(DENSE, RooflineSource(), NO_HOST)
    for batch in (
        Batch((Group(1, 8, 8 * 100, 0, is_decode=True),)),
        Batch((Group(256, 1, 0),)),
        Batch((Group(1, 8, 8 * 100, 0, is_decode=True), Group(256, 1, 512))),
    ):
        assert 0 < ideal.step(batch).device_ns < real.step(batch).device_ns
