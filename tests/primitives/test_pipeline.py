"""Pipeline stages: who has which layers, and what the parts of a step add up to."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import UnsupportedError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.exchanges import Send
from servecast.primitives.host_time import HostTime
from servecast.primitives.operations import AllReduce, Elementwise
from servecast.primitives.pipeline import leaves_node, stage_costs, stage_deployments, stage_layers
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from tests.toy_deployments import DENSE, WINDOWED

BATCH = Batch((Group(1, 8, 8 * 200, 0, True), Group(100, 1, 0)))
SOURCE = RooflineSource()


@given(layers=st.integers(1, 200), data=st.data())
def test_every_layer_is_in_one_stage_and_stages_differ_by_one(
    layers: int, data: st.DataObject
) -> None:
    stages = data.draw(st.integers(1, layers))
    cut = stage_layers(layers, stages)
    assert sum(cut) == layers
    assert len(cut) == stages
    assert max(cut) - min(cut) <= 1
    assert cut[-1] == min(cut)  # the last one has the head


def test_what_is_left_over_goes_to_the_stages_before_the_last() -> None:
    assert stage_layers(10, 4) == [2, 3, 3, 2]
    assert stage_layers(11, 4) == [3, 3, 3, 2]
    assert stage_layers(32, 2) == [16, 16]


@pytest.mark.parametrize("stages", [2, 4])
def test_stages_take_what_the_whole_takes_and_the_handovers(stages: int) -> None:
    staged = dataclasses.replace(DENSE, pipeline_parallel_size=stages)
    whole = CompiledStepCost(DENSE, SOURCE).step(BATCH)
    parts = [cost.step(BATCH) for cost in stage_costs(staged, SOURCE)]
    row = BATCH.tokens * DENSE.model.hidden * 2.0
    sent = AllReduce(2 * row / DENSE.tensor_parallel_size, 2)
    received = Elementwise(2 * row)
    each_s = sum(float(SOURCE.cost(op, DENSE.accelerator).seconds) for op in (sent, received))
    extra_s = (sum(part.device_ns for part in parts) - whole.device_ns) / 1e9
    assert extra_s == pytest.approx((stages - 1) * each_s, rel=1e-3)
    assert [part.host_ns for part in parts] == [whole.host_ns] + [0] * (stages - 1)


def test_the_last_stage_alone_has_the_head() -> None:
    staged = dataclasses.replace(DENSE, pipeline_parallel_size=2)
    lone = Batch((Group(1, 1, 10, 0, True),))
    first, last = (cost.step(lone).device_ns for cost in stage_costs(staged, SOURCE))
    assert last > first


def test_one_stage_is_the_deployment_itself() -> None:
    (cost,) = stage_costs(WINDOWED, SOURCE, HostTime(1e-3, 0.0))
    assert cost.step(BATCH) == CompiledStepCost(WINDOWED, SOURCE, HostTime(1e-3, 0.0)).step(BATCH)


def test_what_is_not_priced_is_refused_by_name() -> None:
    mixed = dataclasses.replace(WINDOWED, pipeline_parallel_size=2)
    with pytest.raises(UnsupportedError, match=r"pipeline stages of toy .* 2 kinds"):
        stage_deployments(mixed)


@pytest.mark.parametrize(
    ("tensor", "stages", "crossing"),
    [
        (4, 2, [False]),
        (8, 2, [True]),
        (4, 4, [False, True, False]),
        (2, 6, [False, False, False, True, False]),
        (16, 2, [True]),
    ],
)
def test_a_stage_leaves_the_node_where_its_last_accelerators_do(
    tensor: int, stages: int, crossing: list[bool]
) -> None:
    """Nodes of eight, filled stage by stage."""
    wide = dataclasses.replace(DENSE, tensor_parallel_size=tensor, pipeline_parallel_size=stages)
    assert [leaves_node(wide, stage) for stage in range(stages - 1)] == crossing


def test_what_crosses_nodes_goes_by_the_network() -> None:
    wide = dataclasses.replace(DENSE, tensor_parallel_size=8, pipeline_parallel_size=2)
    first, _ = stage_costs(wide, SOURCE)
    neighbour = CompiledStepCost(first.deployment, SOURCE, samples=False)
    sent = Send(2 * BATCH.tokens * DENSE.model.hidden * 2.0 / 8)
    by_network_s = float(SOURCE.seconds(sent, DENSE.accelerator))
    by_link_s = float(SOURCE.seconds(AllReduce(sent.bytes, 2), DENSE.accelerator))
    more_ns = first.step(BATCH).device_ns - neighbour.step(BATCH).device_ns
    assert more_ns == pytest.approx((by_network_s - by_link_s) * 1e9, abs=2)
    assert by_network_s > by_link_s


def test_a_stage_on_another_node_needs_a_network_that_is_known() -> None:
    alone = dataclasses.replace(DENSE.accelerator, network_bytes_per_s=None)
    wide = dataclasses.replace(
        DENSE, accelerator=alone, tensor_parallel_size=8, pipeline_parallel_size=2
    )
    with pytest.raises(UnsupportedError, match="network adapter of toy is not known"):
        stage_costs(wide, SOURCE)
