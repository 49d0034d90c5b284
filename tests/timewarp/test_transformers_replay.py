"""The loop on virtual time is the real loop: a real run's own step durations give it back."""

from __future__ import annotations

import pytest

from servecast.primitives.policy import TransformersSchedulerType
from servecast.timewarp.transformers_run import compute_transformers, replay_transformers
from tests.timewarp.transformers_cases import TINY, cramped, random

pytestmark = pytest.mark.engine(name="transformers")


@pytest.mark.parametrize("scheduler", ["fifo", "prefill_first"])
def test_a_replayed_run_is_the_real_one(scheduler: TransformersSchedulerType) -> None:
    options = cramped(scheduler)
    real = compute_transformers(TINY, options, random(30, 20.0, seed=1))
    replayed = replay_transformers(real, options, TINY.max_model_len)
    assert [step.parts for step in replayed.steps] == [step.parts for step in real.steps]
    ours, true = replayed.records, real.records
    assert ours.ttft_ns.mean() == pytest.approx(true.ttft_ns.mean(), rel=0.01)
    assert ours.e2e_ns.mean() == pytest.approx(true.e2e_ns.mean(), rel=0.01)


def test_a_real_step_is_the_model_and_the_loop_around_it() -> None:
    real = compute_transformers(TINY, cramped(), random(10, 20.0, seed=2))
    assert all(step.device_ns > 0 and step.host_ns > 0 for step in real.steps)
    assert real.records.output_tokens.tolist() == real.workload.output_tokens.tolist()
