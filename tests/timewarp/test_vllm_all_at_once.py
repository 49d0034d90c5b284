"""A thousand requests that share prefixes, are chunked, and preempt each other: thrice the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.simulator.simulate import simulate
from servecast.timewarp.emulate import Emulation
from tests.differential.test_vllm import assert_same_run, emulated
from tests.timewarp.emulated_cases import PLAIN, Case, caching, many_prefixes, poisson

pytestmark = pytest.mark.engine(name="vllm")

CROWDED = Case(
    "a thousand",
    caching(max_model_len=1024, max_num_batched_tokens=256, num_gpu_blocks_override=300),
    many_prefixes(1000, 20.0),
)


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def digits(emulation: Emulation) -> tuple[str, ...]:
    """All that a run writes: its batches, its records, its latencies."""
    (log,) = emulation.batches
    records, result = dataclasses.asdict(emulation.result.records), emulation.result
    columns = [f"{name} {column.tolist()}" for name, column in records.items()]
    return (*log.lines(), *columns, repr((result.ttft, result.tpot, result.itl, result.e2e)))


def test_a_thousand_requests_are_the_same_to_the_last_digit_three_times() -> None:
    first = emulated(CROWDED)
    (log,) = first.batches
    budget = CROWDED.deployment.max_num_batched_tokens
    full = sum(sum(count for _, count, _ in batch.computed) == budget for batch in log.batches)
    assert len(first.result.records) == 1000
    assert first.result.preemptions > 20
    assert full > 100  # prompts cut into chunks
    assert first.result.cached_share is not None
    assert first.result.cached_share > 0.2
    for again in (emulated(CROWDED), emulated(CROWDED)):
        assert digits(again) == digits(first)
    source = RooflineSource()
    assert_same_run(CROWDED, first, simulate(CROWDED.deployment, CROWDED.workload, source=source))


def parallel(size: int) -> Deployment:
    return dataclasses.replace(PLAIN, tensor_parallel_size=size)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_ranks_share_the_work_and_decide_as_the_simulator_does(size: int) -> None:
    case = Case(f"TP {size}", parallel(size), poisson(60, 10.0))
    emulation = emulated(case)
    source = RooflineSource()
    assert_same_run(case, emulation, simulate(case.deployment, case.workload, source=source))
    if size > 1:
        fewer = simulate(parallel(size // 2), case.workload, source=source)
        assert np.mean(emulation.result.records.finish_ns - fewer.records.finish_ns) < 0
