"""Steps of data-parallel ranks: the slowest one's own part, everybody's experts, padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.batch import Batch, Group
from servecast.primitives.host_time import HostTime
from servecast.primitives.model import MoeFfn
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.primitives.wave_cost import CompiledWaveCost, max_cudagraph_capture_size
from tests.toy_deployments import FULL, toy_deployment

SOURCE, HOST = RooflineSource(), HostTime(1e-4, 1e-6)
ALONE = toy_deployment((2, FULL, MoeFfn(experts=8, experts_per_token=2, width=512)))
RANKS = replace(ALONE, data_parallel_size=4, enable_expert_parallel=True)
COST = CompiledWaveCost(RANKS, SOURCE, HOST)
UNPADDED = CompiledWaveCost(replace(RANKS, all2all_backend="deepep_high_throughput"), SOURCE, HOST)
EMPTY = Batch(())


def decodes(sequences: int, context: int = 100) -> Batch:
    return Batch((Group(1, sequences, sequences * context, 0, True),))


def prompt(tokens: int) -> Batch:
    return Batch((Group(tokens, 1, 0),))


@given(sequences=st.integers(1, 63), context=st.integers(0, 3000), chunk=st.integers(0, 400))
def test_equal_ranks_take_what_one_of_them_is_priced_at(
    sequences: int, context: int, chunk: int
) -> None:
    chunks = prompt(chunk).groups if chunk else ()
    batch = Batch((*decodes(sequences, context).groups, *chunks))
    together, alike = COST.step([batch] * 4), CompiledStepCost(RANKS, SOURCE, HOST).step(batch)
    assert together.device_ns == pytest.approx(alike.device_ns, abs=2)  # of rounding
    assert together.host_ns == alike.host_ns


def test_one_rank_alone_is_a_plain_deployment() -> None:
    one = CompiledWaveCost(ALONE, SOURCE, HOST).step([decodes(9)])
    plain = CompiledStepCost(ALONE, SOURCE, HOST).step(decodes(9))
    assert one.device_ns == pytest.approx(plain.device_ns, abs=2)
    assert one.host_ns == plain.host_ns


def test_everybody_waits_for_the_longest_contexts() -> None:
    short = COST.step([decodes(8, 100)] * 4)
    one_long = COST.step([decodes(8, 3000), *[decodes(8, 100)] * 3])
    all_long = COST.step([decodes(8, 3000)] * 4)
    assert short < one_long == all_long


def test_small_steps_are_padded_to_the_fullest_rank() -> None:
    one_full = COST.step([decodes(64), EMPTY, EMPTY, EMPTY])
    all_full = COST.step([decodes(64)] * 4)
    assert one_full.device_ns == all_full.device_ns
    assert UNPADDED.step([decodes(64), EMPTY, EMPTY, EMPTY]).device_ns < one_full.device_ns


def test_a_step_beyond_the_graphs_pads_nobody() -> None:
    assert max_cudagraph_capture_size(RANKS) == 128
    for tokens, is_padded in ((128, True), (129, False)):
        mixed = [prompt(tokens), EMPTY, EMPTY, EMPTY]
        alike = [prompt(tokens)] * 4
        assert (COST.step(mixed).device_ns == COST.step(alike).device_ns) is is_padded


def test_an_idle_rank_takes_part_with_one_token() -> None:
    idle = UNPADDED.step([prompt(300), EMPTY, EMPTY, EMPTY])
    nearly = UNPADDED.step([prompt(300), *[decodes(1, 0)] * 3])
    assert idle.device_ns == nearly.device_ns


@given(
    loads=st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(any), more=st.integers(0, 3)
)
def test_more_on_one_rank_takes_no_less(loads: list[int], more: int) -> None:
    batches = [decodes(load) if load else EMPTY for load in loads]
    fuller = [*batches]
    fuller[more] = decodes(loads[more] + 4)
    assert COST.step(fuller).device_ns >= COST.step(batches).device_ns
    assert UNPADDED.step(fuller).device_ns >= UNPADDED.step(batches).device_ns
