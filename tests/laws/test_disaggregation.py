"""Laws of prompts computed in one place and outputs in another, under whatever is drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.fleet.transfer import FirstToken, Transfer, Way
from tests.driver import Arrival, inter_token_ns, records_of, run
from tests.toy_deployments import DENSE
from tests.two_sides import Sides, served, sides
from tests.workload_cases import Case, Drawn, cases

COST = CompiledStepCost(DENSE, RooflineSource())
RATES = st.sampled_from((float("inf"), 1e11, 1e9, 2e7))
"""A cache is there at once, within a step, after some, or after many."""
TRANSFERS = st.builds(
    Transfer,
    bw_bytes_per_s=RATES,
    latency_s=st.sampled_from((0.0, 1e-6, 3e-3)),
    by_layer=st.booleans(),
    first_token=st.sampled_from(("prefill", "decode")),
    max_local_prefill_tokens=st.sampled_from((0, 0, 20, 100)),
)
REPLICAS = st.tuples(st.integers(1, 2), st.integers(1, 3))
DRAWN_CASES = st.one_of(cases(max_requests=16), cases(max_requests=16, prefixes=True))
COLUMNS = (
    "index",
    "scheduled_ns",
    "first_token_ns",
    "finish_ns",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "replica",
)


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Conservation of blocks is looked at after every run."""
    monkeypatch.setenv("SERVECAST_CHECK", "1")


def rows(found: Sides) -> list[tuple[int, ...]]:
    records = found.records()
    return list(zip(*(getattr(records, name).tolist() for name in COLUMNS), strict=True))


def gaps(found: Sides) -> Counter[int]:
    return sum((inter_token_ns(engine, COST) for engine in found.engines), Counter[int]())


def decoded(case: Case, transfer: Transfer) -> list[Arrival]:
    """Those who have anything to decode."""
    first: FirstToken = transfer.first_token
    return [
        each
        for each in case.arrivals
        if first == "decode"
        or each.output_tokens > 1
        or (each.prompt_tokens <= transfer.max_local_prefill_tokens)
    ]


def test_skipping_equals_stepping(drawn: Drawn) -> None:
    runs = steps = preempted = 0

    @drawn(150)
    @given(DRAWN_CASES, TRANSFERS, REPLICAS, st.booleans())
    def both_agree(
        case: Case, transfer: Transfer, replicas: tuple[int, int], central: bool
    ) -> None:
        nonlocal runs, steps, preempted
        skipping, stepping = (
            served(
                sides(case.limits, COST, transfer, replicas, central=central, stepping=each),
                case.arrivals,
            )
            for each in (False, True)
        )
        assert rows(skipping) == rows(stepping)
        assert gaps(skipping) == gaps(stepping)
        preempted += int(skipping.records().preemptions.sum())
        runs += sum(len(engine.log) for engine in skipping.decode)
        steps += sum(len(engine.log) for engine in stepping.decode)

    both_agree()
    assert preempted > 20
    assert runs < steps / 2


def test_no_request_is_lost_or_doubled_and_all_blocks_come_back(drawn: Drawn) -> None:
    @drawn(100)
    @given(DRAWN_CASES, TRANSFERS, REPLICAS, st.booleans())
    def all_come_out(
        case: Case, transfer: Transfer, replicas: tuple[int, int], central: bool
    ) -> None:
        found = served(sides(case.limits, COST, transfer, replicas, central=central), case.arrivals)
        expected = decoded(case, Transfer(first_token=transfer.first_token))
        records, seen = found.records(), set(rows_of_index(found))
        assert {each.number for each in expected} <= seen
        assert len(records) == len(seen)
        said = {each.number: each.output_tokens for each in case.arrivals}
        assert records.output_tokens.tolist() == [said[i] for i in records.index.tolist()]
        for engine in found.engines:
            assert engine.unfinished == 0
            assert engine.scheduler.blocks.free == engine.scheduler.blocks.total
            engine.check()

    all_come_out()


def rows_of_index(found: Sides) -> list[int]:
    numbers: list[int] = found.records().index.tolist()
    return numbers


def test_gaps_between_tokens_add_up_to_the_time_between_first_and_last(drawn: Drawn) -> None:
    """The one between the two sides is among them, once."""

    @drawn(60)
    @given(DRAWN_CASES, TRANSFERS, REPLICAS, st.booleans())
    def both_agree(
        case: Case, transfer: Transfer, replicas: tuple[int, int], central: bool
    ) -> None:
        found = served(sides(case.limits, COST, transfer, replicas, central=central), case.arrivals)
        records, waited = found.records(), gaps(found)
        assert waited.total() == int((records.output_tokens - 1).sum())
        spent_ns = int((records.finish_ns - records.first_token_ns).sum())
        assert sum(gap_ns * count for gap_ns, count in waited.items()) == spent_ns

    both_agree()


def test_little_s_law_holds_through_both_sides_and_the_transfer(drawn: Drawn) -> None:
    """∫ N dt = Σ T, without a tolerance: nobody is outside between the two sides."""

    @drawn(60)
    @given(cases(max_requests=12), TRANSFERS, REPLICAS, st.booleans())
    def both_sides_agree(
        case: Case, transfer: Transfer, replicas: tuple[int, int], central: bool
    ) -> None:
        plain = replace(transfer, by_layer=False, first_token="decode")
        found = sides(case.limits, COST, plain, replicas, central=central)
        inside_ns = sum(passed_ns * found.inside for passed_ns in found.serve(case.arrivals))
        assert inside_ns == int(found.records().e2e_ns.sum())

    both_sides_agree()


def test_first_tokens_are_those_of_a_lone_engine_that_computes_prompts(drawn: Drawn) -> None:
    """Over an infinite link, with room for all where they decode, and where they begin."""

    @drawn(60)
    @given(cases(max_requests=12), st.booleans())
    def both_agree(case: Case, by_layer: bool) -> None:
        roomy = replace(case.limits, num_blocks=4000)
        at_once = Transfer(bw_bytes_per_s=float("inf"), latency_s=0.0, by_layer=by_layer)
        wide = replace(roomy, max_num_seqs=64, max_num_batched_tokens=4096)
        apart = served(sides(roomy, COST, at_once, decode_limits=wide), case.arrivals).records()
        prompts = [each._replace(output_tokens=1) for each in case.arrivals]
        alone = records_of(run(roomy, COST, prompts))
        expected = dict(zip(alone.index.tolist(), alone.first_token_ns.tolist(), strict=True))
        ours = dict(zip(apart.index.tolist(), apart.first_token_ns.tolist(), strict=True))
        assert ours == {index: expected[index] for index in ours}

    both_agree()


@pytest.mark.parametrize("by_layer", [False, True])
def test_a_transfer_takes_no_longer_over_a_faster_link_or_for_fewer_tokens(by_layer: bool) -> None:
    slow, fast = (
        Way(Transfer(bw_bytes_per_s=rate, by_layer=by_layer), DENSE, DENSE) for rate in (1e9, 4e9)
    )
    for overlap_ns in (0, 1_000_000, 50_000_000):
        exposed = [slow.exposed_ns(tokens, overlap_ns) for tokens in range(1, 4000, 37)]
        assert exposed == sorted(exposed)
        assert exposed[0] < exposed[-1]
        faster = [fast.exposed_ns(tokens, overlap_ns) for tokens in range(1, 4000, 37)]
        assert all(quick <= long for quick, long in zip(faster, exposed, strict=True))
