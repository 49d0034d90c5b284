"""Laws of a tier of KV blocks in host memory, under whatever hypothesis draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.engine import Engine
from servecast.simulator.host_tier import HostTier
from servecast.simulator.load_rule import LoadIfFaster
from servecast.traces.prefixes import cut
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival, inter_token_ns, records_of, run
from tests.tiers import run_tiered, transfers
from tests.toy_deployments import DENSE
from tests.workload_cases import BLOCK_SIZE, Case, Drawn, cases

COST = CompiledStepCost(DENSE, RooflineSource())
COLUMNS = (
    "scheduled_ns",
    "first_token_ns",
    "finish_ns",
    "cached_tokens",
    "host_tokens",
    "preemptions",
)
SIZES = st.one_of(st.integers(0, 12), st.integers(13, 60), st.just(10**6))
BLOCK_NS = st.sampled_from((0.0, 900.5, 60_000.0, 2_000_000.0, 40_000_000.0))
"""How long a block is on a link: not at all, a little of a step, or some steps."""


def columns(engine: Engine) -> dict[str, list[int]]:
    records = records_of(engine)
    return {name: getattr(records, name).tolist() for name in COLUMNS}


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conservation of blocks is looked at after every run."""
    monkeypatch.setenv("SERVECAST_CHECK", "1")


def test_skipping_equals_stepping(drawn: Drawn) -> None:
    loaded = runs = steps = preempted = 0

    @drawn(250)
    @given(cases(prefixes=True), SIZES, BLOCK_NS, st.booleans())
    def both_agree(case: Case, blocks: int, block_ns: float, chooses: bool) -> None:
        nonlocal loaded, runs, steps, preempted
        pays = LoadIfFaster(case.limits, COST) if chooses else None
        skipping, stepping = (
            run_tiered(
                case.limits,
                COST,
                case.arrivals,
                transfers(blocks, block_ns),
                pays=pays,
                stepping=step,
            )
            for step in (False, True)
        )
        fast, slow = columns(skipping), columns(stepping)
        assert fast == slow
        assert inter_token_ns(skipping, COST) == inter_token_ns(stepping, COST)
        for ours, theirs in (
            (skipping.transfers.to_gpu, stepping.transfers.to_gpu),
            (skipping.transfers.to_host, stepping.transfers.to_host),
        ):
            assert ours.blocks == theirs.blocks
        loaded += sum(fast["host_tokens"])
        preempted += sum(fast["preemptions"])
        runs += len(skipping.log)
        steps += len(stepping.log)

    both_agree()
    assert loaded > 5_000
    assert preempted > 100
    assert runs < steps / 2


def test_a_tier_of_no_blocks_changes_nothing(drawn: Drawn) -> None:
    found = 0

    @drawn(100)
    @given(cases(prefixes=True), BLOCK_NS)
    def it_is_as_without(case: Case, block_ns: float) -> None:
        nonlocal found
        without = run(case.limits, COST, case.arrivals)
        moved = transfers(0, block_ns)
        tiered = run_tiered(case.limits, COST, case.arrivals, moved)
        assert columns(tiered) == columns(without)
        assert inter_token_ns(tiered, COST) == inter_token_ns(without, COST)
        assert (moved.to_host.blocks, moved.to_gpu.blocks) == (0, 0)
        found += sum(columns(without)["cached_tokens"])

    it_is_as_without()
    assert found > 5_000


def test_an_endless_tier_without_delay_finds_what_an_endless_cache_finds(drawn: Drawn) -> None:
    loaded = 0

    @drawn(100)
    @given(cases(prefixes=True))
    def both_find(case: Case) -> None:
        nonlocal loaded
        one_by_one = [
            arrival._replace(arrival_ns=place * 10**12, known=_of_prompt(arrival))
            for place, arrival in enumerate(case.arrivals)
        ]
        endless = run(replace(case.limits, num_blocks=10**6), COST, one_by_one)
        tiered = columns(run_tiered(case.limits, COST, one_by_one, transfers(10**6)))
        assert not any(tiered["preemptions"])
        both = [
            sum(pair) for pair in zip(tiered["cached_tokens"], tiered["host_tokens"], strict=True)
        ]
        last = [_last_block_too(arrival) for arrival in one_by_one]
        ideal = columns(endless)["cached_tokens"]
        for found, most, has_more in zip(both, ideal, last, strict=True):
            assert found == most or (has_more and found == most + BLOCK_SIZE)
        loaded += sum(tiered["host_tokens"])

    both_find()
    assert loaded > 5_000


def _of_prompt(arrival: Arrival) -> tuple[tuple[int, int], ...]:
    """The ids of a prompt's own blocks: those of outputs do not come to the host."""
    return tuple(cut(list(arrival.known), arrival.prompt_tokens // BLOCK_SIZE))


def _last_block_too(arrival: Arrival) -> bool:
    """Whether the last block of a prompt is full: the host gives that out, the GPU does not."""
    return arrival.prompt_tokens % BLOCK_SIZE == 0


@pytest.mark.parametrize("block_ns", [0.0, 60_000.0, 2_000_000.0, 40_000_000.0])
def test_who_is_served_alone_never_loads_what_is_computed_sooner(
    drawn: Drawn, block_ns: float
) -> None:
    loaded = recomputed = 0

    @drawn(50)
    @given(cases(prefixes=True))
    def it_is_no_later(case: Case) -> None:
        nonlocal loaded, recomputed
        one_by_one = [
            arrival._replace(arrival_ns=place * 10**12)
            for place, arrival in enumerate(case.arrivals)
        ]
        pays = LoadIfFaster(case.limits, COST)
        without = records_of(run(case.limits, COST, one_by_one))
        chosen = records_of(
            run_tiered(case.limits, COST, one_by_one, transfers(10**6, block_ns), pays=pays)
        )
        always = records_of(run_tiered(case.limits, COST, one_by_one, transfers(10**6, block_ns)))
        assert (chosen.ttft_ns <= without.ttft_ns).all()
        loaded += int(chosen.host_tokens.sum())
        recomputed += int((always.host_tokens - chosen.host_tokens).clip(0).sum())

    it_is_no_later()
    assert loaded > 0 or block_ns == 40_000_000.0
    assert recomputed > 0 or block_ns < 1_000_000.0


def test_blocks_are_conserved_over_both_tiers(drawn: Drawn) -> None:
    evicted = 0

    @drawn(100)
    @given(cases(prefixes=True), st.integers(1, 40), BLOCK_NS)
    def none_is_lost(case: Case, blocks: int, block_ns: float) -> None:
        nonlocal evicted
        moved = transfers(blocks, block_ns)
        engine = run_tiered(case.limits, ConstantStepCost(5_000_000), case.arrivals, moved)
        tier = moved.tier
        assert isinstance(tier, HostTier)
        assert engine.scheduler.blocks.free == case.limits.num_blocks
        assert tier.used <= tier.peak_used <= blocks
        moved.poll(engine.now_ns + 10**15)
        tier.check()
        assert moved.next_ns() is None
        evicted += moved.to_host.blocks - tier.used

    none_is_lost()
    assert evicted > 100
