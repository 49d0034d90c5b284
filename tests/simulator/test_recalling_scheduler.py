"""A preempted request computes again only what was overwritten in the meantime."""

from __future__ import annotations

import pytest

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.recalling_scheduler import RecallingBlocks, RecallingScheduler
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.toy_deployments import DENSE

COST = CompiledStepCost(DENSE, RooflineSource())
TIGHT = SchedulerLimits(
    max_num_seqs=4, max_num_batched_tokens=512, max_model_len=320, num_blocks=24
)


def preempted_pool() -> RecallingBlocks:
    """Ten blocks; request 7 held six of them, the last one in part, and lost them."""
    pool = RecallingBlocks(10, 16)
    pool.allocate(10)
    pool.release(6)
    pool.remember(7, 5)
    return pool


def test_what_was_not_overwritten_is_recalled() -> None:
    assert preempted_pool().recall(7) == 5


def test_a_block_that_was_not_full_goes_first_and_the_request_s_last_blocks_next() -> None:
    pool = preempted_pool()
    pool.allocate(1)
    pool.allocate(2)
    assert pool.recall(7) == 3


def test_blocks_that_were_free_before_go_before_them() -> None:
    pool = RecallingBlocks(10, 16)
    pool.allocate(6)
    pool.release(6)
    pool.remember(7, 6)
    pool.allocate(4)
    assert pool.recall(7) == 6


def test_a_request_is_recalled_once_and_others_not_at_all() -> None:
    pool = preempted_pool()
    assert pool.recall(8) == 0
    assert pool.recall(7) == 5
    assert pool.recall(7) == 0
    pool.check(held=4)


def test_recalled_blocks_are_allocated_to_whoever_recalls_them() -> None:
    pool = preempted_pool()
    assert pool.recall(7) == 5
    pool.allocate(5)
    pool.release(1)
    pool.check(held=8)


def test_a_free_list_that_lost_blocks_is_found_out() -> None:
    pool = preempted_pool()
    pool.free += 1
    with pytest.raises(AssertionError, match="free list"):
        pool.check(held=3)


def served(policy: type[Scheduler]) -> Engine:
    """Two requests that fit while they are prompts and not when they have grown."""
    engine = Engine(TIGHT, COST, policy=policy)
    for index in range(2):
        engine.submit(Request(index, 0, 160, 100, 100), 0)
    engine.advance(None)
    return engine


def computed(engine: Engine) -> int:
    return int(engine.log.column("chunk_tokens").sum())


def test_preemption_costs_fewer_tokens_and_less_time_than_without_recall() -> None:
    plain, recalling = served(VllmScheduler), served(RecallingScheduler)
    preemptions = [
        engine.recorder.rows.column("preemptions").sum() for engine in (plain, recalling)
    ]
    assert preemptions == [1, 1]
    assert computed(plain) > computed(recalling) >= 2 * 160
    assert recalling.now_ns < plain.now_ns
