"""An engine with KV blocks in host memory, by hand: every step takes 10 ns, a block 100 ns."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.simulator.link import Link
from servecast.simulator.load_rule import LoadIfFaster
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.tiered_engine import TieredEngine
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, records_of
from tests.tiers import run_tiered, transfers

COST = ConstantStepCost(10)
FIRST, SECOND, AGAIN = (
    Arrival(0, 0, 65, 1, ((0, 4),)),
    Arrival(1, 10_000, 127, 1, ((100, 7),)),
    Arrival(2, 20_000, 65, 1, ((0, 4),)),
)
LIMITS = SchedulerLimits(4, 64, 128, num_blocks=8, enable_prefix_caching=True)
"""Of 16 tokens: the second prompt takes all blocks of the GPU."""


def ttft_ns(engine: TieredEngine) -> list[int]:
    found: list[int] = records_of(engine).ttft_ns.tolist()
    return found


def test_what_the_gpu_has_lost_comes_from_the_host() -> None:
    engine = run_tiered(LIMITS, COST, (FIRST, SECOND, AGAIN), transfers(100, 100.0))
    records = records_of(engine)
    assert records.cached_tokens.tolist() == [0, 0, 0]
    assert records.host_tokens.tolist() == [0, 0, 64]
    assert ttft_ns(engine) == [20, 20, 410]
    assert (engine.tier_use.loaded_bytes, engine.tier_use.stored_bytes) == (4, 11)


def test_it_waits_aside_while_others_are_served() -> None:
    other = Arrival(3, 20_000, 40, 4)
    engine = run_tiered(LIMITS, COST, (FIRST, SECOND, AGAIN, other), transfers(100, 100.0))
    assert ttft_ns(engine)[2:] == [410, 10]
    assert records_of(engine).finish_ns[3] == 20_040


def test_it_hears_of_a_load_when_the_step_ends_that_began_behind_it() -> None:
    other = Arrival(3, 20_000, 2, 46)
    engine = run_tiered(LIMITS, COST, (FIRST, SECOND, AGAIN, other), transfers(100, 101.5))
    assert ttft_ns(engine)[2:] == [430, 10]  # there at 406, seen by the step from 410 to 420


def test_who_finds_blocks_under_way_is_passed_over() -> None:
    same = Arrival(3, 20_000, 65, 1, ((0, 4),))
    short = Arrival(4, 20_000, 16, 1)
    engine = run_tiered(LIMITS, COST, (FIRST, SECOND, AGAIN, same, short), transfers(100, 100.0))
    assert ttft_ns(engine)[2:] == [410, 410, 10]
    assert records_of(engine).cached_tokens.tolist()[3] == 64


def test_what_is_computed_sooner_is_not_loaded() -> None:
    arrivals = (FIRST, SECOND, AGAIN)
    pays = LoadIfFaster(LIMITS, COST)
    slow = run_tiered(LIMITS, COST, arrivals, transfers(100, 100.0), pays=pays)
    assert ttft_ns(slow)[2] == 20
    fast = run_tiered(LIMITS, COST, arrivals, transfers(100, 1.0), pays=pays)
    assert ttft_ns(fast)[2] == 14


def test_a_link_carries_one_transfer_after_the_other() -> None:
    link = Link(10.0, 7)
    assert link.send(100, 3) == 130
    assert link.end_ns(110, 1) == 140
    assert link.send(110, 2) == 150
    assert link.send(1000, 1) == 1010
    assert (link.blocks, link.moved_bytes) == (6, 42)


def test_there_is_no_tier_without_a_prefix_cache() -> None:
    with pytest.raises(InputError, match="without a prefix cache"):
        TieredEngine(SchedulerLimits(4, 64, 128, 8), COST, transfers(1))
