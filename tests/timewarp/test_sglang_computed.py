"""The loop alone: what a real run measured, fed back, gives that run again."""

from __future__ import annotations

import numpy as np
import pytest

from servecast.timewarp.recorded_cost import RecordedCost
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import requests
from tests.timewarp.sglang_cases import NORMAL, emulated
from tests.timewarp.sglang_computed import computed, durations_ns

pytestmark = pytest.mark.engine(name="sglang")


RNG = np.random.default_rng(2)
PROMPTS, OUTPUTS = RNG.integers(20, 300, 24).tolist(), RNG.integers(5, 40, 24).tolist()
GAPS_S = RNG.exponential(1.0, 24)


@pytest.mark.parametrize(
    ("rate_per_s", "options"),
    [
        (float("inf"), ()),
        (float("inf"), ("--enable-mixed-chunk", "--chunked-prefill-size", "128")),
        (40.0, ()),
        (6.0, ()),
    ],
)
def test_a_real_run_replayed_takes_the_same_batches_and_the_same_time(
    rate_per_s: float, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, at a rate that queues, and at one that leaves SGLang idle now and then."""
    arrival_s = 1.0 + np.cumsum(GAPS_S) / rate_per_s
    workload = requests(arrival_s.tolist(), PROMPTS, OUTPUTS)
    measured = computed(workload, NORMAL, *options, num_tokens=2000, monkeypatch=monkeypatch)
    cost = RecordedCost(durations_ns(measured), ConstantStepCost(0))
    again = emulated(workload, NORMAL, *options, num_tokens=2000, cost=cost)
    assert [batch.computed for batch in again.batches.batches] == [
        batch.computed for batch in measured.batches.batches
    ]
    for column in ("first_token_ns", "finish_ns"):
        replayed, true = (getattr(run.result.records, column) for run in (again, measured))
        assert replayed.tolist() == true.tolist()
