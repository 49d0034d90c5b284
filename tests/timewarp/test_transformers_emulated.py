"""transformers' own loop on virtual time: what its scheduler does, at costs known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.primitives.policy import TransformersSchedulerType
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import TransformersRun, emulate_transformers
from servecast.traces.prefixes import Prefixes, prefixes
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.transformers_cases import ROOMY, STEP_NS, TINY, at_once, cramped, random
from tests.toy_deployments import DENSE

pytestmark = pytest.mark.engine(name="transformers")
SCHEDULERS: tuple[TransformersSchedulerType, ...] = ("fifo", "prefill_first")


def emulated(options: TransformersOptions, workload: Workload) -> TransformersRun:
    return emulate_transformers(options, workload, ConstantStepCost(STEP_NS), model=TINY.spec)


def test_a_prompt_takes_as_many_steps_as_it_has_chunks_and_each_token_one() -> None:
    run = emulated(ROOMY, at_once((600, 5)))
    assert [step.parts[0].new_tokens for step in run.steps] == [256, 256, 88, 1, 1, 1, 1]
    assert run.records.ttft_ns.tolist() == [3 * STEP_NS]
    assert run.records.e2e_ns.tolist() == [7 * STEP_NS]


def test_outputs_end_at_their_true_length_and_not_at_what_clients_declared() -> None:
    workload = random(40, 20.0, seed=3)
    run = emulated(ROOMY, workload)
    assert run.records.output_tokens.tolist() == workload.output_tokens.tolist()
    assert (workload.max_tokens > workload.output_tokens).all()


def test_a_declared_maximum_cuts_an_output() -> None:
    run = emulated(ROOMY, at_once((20, 50), (20, 5), max_tokens=10))
    assert run.records.output_tokens.tolist() == [10, 5]
    assert run.truncated == 1


def test_idle_time_is_jumped_over_and_counts_for_nobody() -> None:
    workload = replace(at_once((10, 3), (10, 3)), arrival_ns=np.array([5, 10**12]))
    run = emulated(ROOMY, workload)
    assert run.records.ttft_ns.tolist() == [STEP_NS, STEP_NS]
    assert [step.after_idle for step in run.steps] == [True, False, False] * 2


def test_the_engine_works_through_a_closed_loop() -> None:
    workload = closed_loop(random(20, 1.0, seed=5), 4, STEP_NS)
    run = emulated(ROOMY, workload)
    assert len(run.records) == 20
    assert max(len(step.parts) for step in run.steps) == 4


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_prompts_wait_for_decodes_or_decodes_for_prompts(
    scheduler: TransformersSchedulerType,
) -> None:
    long_prompt = replace(at_once((10, 20), (300, 2)), arrival_ns=np.array([0, STEP_NS // 2]))
    run = emulated(cramped(scheduler, blocks=64), long_prompt)
    second = [part.request for part in run.steps[1].parts], run.steps[2].parts[0].request
    assert second == (([0, 1], 0) if scheduler == "fifo" else ([0, 1], 1))
    gaps_ns, _ = run.log.inter_token_ns(ConstantStepCost(STEP_NS).decode_run)
    assert (gaps_ns.max() > STEP_NS) == (scheduler == "prefill_first")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("sharing", [False, True])
def test_a_small_cache_preempts_and_loses_nobody(
    scheduler: TransformersSchedulerType, sharing: bool
) -> None:
    workload = random(60, 30.0, seed=7)
    run = emulated(cramped(scheduler, sharing=sharing), workload)
    assert len(run.records) == 60
    assert run.records.preemptions.sum() > 0
    assert run.records.preemptions.sum() == sum(len(step.preempted) for step in run.steps)
    assert run.peak_blocks <= run.num_blocks


def test_an_equal_beginning_is_found_in_the_cache() -> None:
    alike = Prefixes(32, np.array([0, 1, 2]), np.array([5, 5]), np.array([2, 2]))
    pair = replace(at_once((100, 4), (100, 4)), arrival_ns=np.array([0, 10**9]), prefixes=alike)
    shared, apart = (
        emulated(replace(ROOMY, allow_block_sharing=sharing), pair) for sharing in (True, False)
    )
    assert shared.batches()[4].computed == ((1, 36, 64),)
    assert apart.batches()[4].computed == ((1, 100, 0),)
    assert shared.records.cached_tokens.tolist() == [0, 64]


def test_the_same_run_comes_out_twice() -> None:
    workload = random(50, 20.0, seed=11)
    one, other = (emulated(cramped(sharing=True), workload) for _ in range(2))
    assert one.steps == other.steps


def test_a_run_is_a_result_whose_gaps_add_up() -> None:
    run = emulated(cramped(), random(30, 20.0, seed=13))
    result = run.result(DENSE, ConstantStepCost(STEP_NS))
    gaps_ns, counts = run.log.inter_token_ns(ConstantStepCost(STEP_NS).decode_run)
    spent_ns = (run.records.finish_ns - run.records.first_token_ns).sum()
    assert (gaps_ns * counts).sum() == spent_ns
    assert result.ttft.mean == pytest.approx(run.records.ttft_ns.mean() / 1e9)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_is_to_come_does_not_change_what_was_decided(
    scheduler: TransformersSchedulerType,
) -> None:
    workload = random(40, 30.0, seed=17)
    longer = replace(workload, output_tokens=workload.output_tokens + 20)
    one, other = (emulated(cramped(scheduler), each).batches() for each in (workload, longer))
    first_end = int(workload.output_tokens[:3].min())
    assert one[:first_end] == other[:first_end]


def test_a_thousand_requests_share_are_cut_and_lose_their_blocks_alike_three_times() -> None:
    chains = [[index % 7 * 10 + block for block in range(4)] for index in range(1000)]
    workload = replace(random(1000, 60.0, seed=11), prefixes=prefixes(16, chains))
    options = cramped(blocks=24, sharing=True)
    first, second, third = (emulated(options, workload) for _ in range(3))
    assert first.records.output_tokens.tolist() == workload.output_tokens.tolist()
    assert int(first.records.preemptions.sum()) > 0
    assert int((first.records.cached_tokens > 0).sum()) > 50
    assert any(part.past_tokens and part.new_tokens > 1 for s in first.steps for part in s.parts)
    for again in (second, third):
        for name in ("scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens"):
            assert getattr(again.records, name).tolist() == getattr(first.records, name).tolist()
        assert again.batches() == first.batches()
