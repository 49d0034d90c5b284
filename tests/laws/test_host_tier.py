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
