"""The loop alone: what a real run measured, fed back, gives that run again."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from servecast.timewarp.recorded_cost import RecordedCost
from servecast.timewarp.sglang_run import SglangRun
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import requests
from tests.timewarp.sglang_cases import NORMAL, emulated
from tests.timewarp.sglang_computed import computed, durations_ns

pytestmark = [
    pytest.mark.engine(name="sglang"),
    pytest.mark.skipif(find_spec("sglang") is None, reason="SGLang is not installed"),
]


def means(run: SglangRun) -> list[float]:
    """What a user asks for first."""
    return [run.result.ttft.mean, run.result.tpot.mean, run.result.e2e.mean]


@pytest.mark.parametrize("options", [(), ("--enable-mixed-chunk", "--chunked-prefill-size", "128")])
def test_a_real_run_replayed_takes_the_same_batches_and_the_same_time(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All come at once, so that no arrival falls on one side of a boundary or the other."""
    rng = np.random.default_rng(2)
    prompts, outputs = rng.integers(20, 300, 16).tolist(), rng.integers(5, 40, 16).tolist()
    workload = requests([1.0] * 16, prompts, outputs)
    measured = computed(workload, NORMAL, *options, num_tokens=2000, monkeypatch=monkeypatch)
    cost = RecordedCost(durations_ns(measured), ConstantStepCost(0))
    again = emulated(workload, NORMAL, *options, num_tokens=2000, cost=cost)
    assert [batch.computed for batch in again.batches.batches] == [
        batch.computed for batch in measured.batches.batches
    ]
    assert means(again) == pytest.approx(means(measured), rel=0.01)
