"""vLLM's own batch queue over pipeline stages: each computes one batch at a time, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from servecast.emulation import run
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RooflineSource
from servecast.timewarp.emulate import Emulation, emulate
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.emulated_options import options
from tests.timewarp.emulated_cases import PLAIN, burst, limited, poisson, requests

pytestmark = pytest.mark.engine(name="vllm")

MS = 1_000_000


def staged(stages: int, **changes: int) -> Deployment:
    return limited(pipeline_parallel_size=stages, **changes)


def emulated(deployment: Deployment, workload: Workload, stage_ms: Sequence[int]) -> Emulation:
    pytest.importorskip("vllm")
    cost, *later = (ConstantStepCost(ms * MS) for ms in stage_ms)
    given = options(deployment, workload)
    return emulate(deployment, workload, given, cost, Mode(log_batches=True), later_stages=later)


@pytest.mark.parametrize("stage_ms", [(3, 3), (3, 5), (5, 3), (2, 2, 2, 2), (2, 7, 2, 1)])
def test_prompts_fill_the_pipeline_and_leave_it_at_the_slowest_stage(
    stage_ms: tuple[int, ...],
) -> None:
    prompts = burst(9, [2000], [1])  # with a budget of 2,048 a batch each, or nearly
    deployment = staged(len(stage_ms), max_num_batched_tokens=2000)
    found = emulated(deployment, prompts, stage_ms).result.records
    expected = [(sum(stage_ms) + k * max(stage_ms)) * MS for k in range(9)]
    assert sorted(found.finish_ns.tolist()) == expected


def test_one_request_passes_all_stages_for_each_token() -> None:
    lone = emulated(staged(4), burst(1, [100], [20]), (1, 2, 3, 4)).result
    assert lone.records.first_token_ns.tolist() == [10 * MS]
    assert lone.itl.p50 == lone.itl.max == 0.010


def test_two_batches_decode_by_turns() -> None:
    apart = requests([0.0, 0.001], [100], [200])
    alternating = emulated(staged(2), apart, (4, 4)).result
    assert alternating.itl.max == 0.008  # nobody waits for the other's stage
    together = emulated(staged(1), apart, (8,)).result
    busy_ns = together.records.finish_ns.max()
    assert alternating.records.finish_ns.max() <= busy_ns


def test_no_request_is_in_two_batches_at_once_but_for_its_prompt() -> None:
    found = emulated(staged(2, max_num_batched_tokens=256), poisson(60, 20.0), (5, 4))
    (log,) = found.batches
    decoded_until = dict[int, int]()
    overlapping = 0
    for before, batch in zip(log.batches, log.batches[1:], strict=False):
        overlapping += batch.start_ns < before.end_ns
    for batch in log.batches:
        for index, tokens, _ in batch.computed:
            if tokens == 1:
                assert decoded_until.get(index, 0) <= batch.start_ns
                decoded_until[index] = batch.end_ns
    assert overlapping > len(log.batches) / 2


@pytest.mark.parametrize("stages", [2, 4])
def test_more_stages_serve_more_prompts_and_a_lone_token_pays_the_handover(stages: int) -> None:
    pytest.importorskip("vllm")
    one, cut = PLAIN, dataclasses.replace(PLAIN, pipeline_parallel_size=stages)
    crowd, lone = burst(48, [1000], [5]), burst(1, [100], [50])
    whole_s, piped_s, alone_s, passed_s = (
        run(deployment, traffic, RooflineSource(), HostTime()).result.duration_s
        for traffic in (crowd, lone)
        for deployment in (one, cut)
    )
    assert 0.6 * stages < whole_s / piped_s < stages
    assert 1.0 < passed_s / alone_s < 1.01


def test_the_same_pipeline_gives_the_same_records() -> None:
    first, second = (emulated(staged(4), poisson(80, 30.0), (2, 2, 3, 2)) for _ in range(2))
    assert first.batches[0].batches == second.batches[0].batches
    np.testing.assert_array_equal(first.result.records.finish_ns, second.result.records.finish_ns)
