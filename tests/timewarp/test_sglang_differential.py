"""The simulator's simple rules of SGLang beside the real one: equal where nothing is scarce."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.admission import Admission
from servecast.simulator.engine import Engine
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.sglang_scheduler import SglangScheduler
from servecast.timewarp.sglang_run import SPARE_TOKENS, SglangRun
from servecast.traces.workload import Workload
from tests.driver import records_of
from tests.timewarp.emulated_cases import burst, poisson
from tests.timewarp.sglang_cases import DEPLOYMENT, NORMAL, declared, emulated

pytestmark = [
    pytest.mark.engine(name="sglang"),
    pytest.mark.skipif(find_spec("sglang") is None, reason="SGLang is not installed"),
]

NUM_TOKENS = 300_000
"""A pool that never runs dry, whatever clients declare."""
CROWDED = dataclasses.replace(DEPLOYMENT, max_num_seqs=5)
COLUMNS = ("start_ns", "duration_ns", "sequences", "chunk_tokens")


def simulated(deployment: Deployment, workload: Workload, *, ahead: bool) -> Engine:
    """The simulator's engine, step by step, with SGLang's own limits of a request."""
    limits = SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=deployment.max_model_len,
        num_blocks=NUM_TOKENS // deployment.block_size,
        block_size=deployment.block_size,
    )
    cost = CompiledStepCost(deployment, RooflineSource())
    engine = Engine(limits, cost, policy=SglangScheduler, schedules_ahead=ahead, stepping=True)
    for request in Admission(workload, deployment.max_model_len - SPARE_TOKENS).requests():
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return engine


def real(deployment: Deployment, workload: Workload, *, ahead: bool) -> SglangRun:
    """SGLang's own loop at the same costs."""
    cost = CompiledStepCost(deployment, RooflineSource())
    options = () if ahead else (NORMAL,)
    return emulated(workload, *options, num_tokens=NUM_TOKENS, deployment=deployment, cost=cost)


def first_difference(deployment: Deployment, workload: Workload, *, ahead: bool) -> int | None:
    """The first step that differs in time, length, decoding requests or prompt tokens, or None."""
    one = real(deployment, workload, ahead=ahead)
    other = simulated(deployment, workload, ahead=ahead)
    steps = [
        list(zip(*(log.column(name).tolist() for name in COLUMNS), strict=True))
        for log in (one.result.logs[0], other.log)
    ]
    if steps[0] == steps[1]:
        records = records_of(other)
        assert np.array_equal(one.result.records.finish_ns, records.finish_ns)
        assert np.array_equal(one.result.records.first_token_ns, records.first_token_ns)
        return None
    pairs = zip(*steps, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(map(len, steps)))


@pytest.mark.parametrize(
    ("deployment", "workload"),
    [
        (DEPLOYMENT, poisson(150, 8.0)),
        (DEPLOYMENT, declared(poisson(150, 30.0))),
        (DEPLOYMENT, burst(80, [90, 400, 33], [7, 30, 120])),
        (DEPLOYMENT, burst(4, [512, 1024, 511, 513], [4])),
        (CROWDED, burst(40, [100, 1000, 17], [50, 3, 90])),
    ],
    ids=["Poisson", "overload", "burst", "whole chunks", "few places"],
)
def test_between_steps_the_simple_rules_are_sglangs(
    deployment: Deployment, workload: Workload
) -> None:
    assert first_difference(deployment, workload, ahead=False) is None


def test_ahead_they_are_too_while_places_are_free_and_lengths_declared() -> None:
    assert first_difference(DEPLOYMENT, declared(poisson(150, 8.0)), ahead=True) is None


def test_ahead_a_place_is_free_a_step_later_than_simulated() -> None:
    """SGLang admits the next one when it has seen the last token, one step later."""
    workload = declared(burst(40, [100, 1000, 17], [50, 3, 90]))
    assert first_difference(CROWDED, workload, ahead=True) is not None


def test_a_chunk_ends_on_a_page_in_sglang_alone() -> None:
    paged = dataclasses.replace(DEPLOYMENT, block_size=16)
    workload = declared(burst(3, [500, 700, 30], [5]))
    assert first_difference(paged, workload, ahead=False) == 0
