"""Costs of points: compiled once for all alike, and the same for ranks that do the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.profiler.point_costs import PointCosts
from servecast.profiler.point_deployment import deployment_of
from tests.profiler.silicon_rows import point

RANKS = {"tp_size": "1", "attention_dp_size": "4", "moe_tp_size": "1", "moe_ep_size": "4"}
SERVED = deployment_of(
    point(model="openai/gpt-oss-120b", engine="trtllm", gpu="B200-180GB", concurrency="64", **RANKS)
)
PROMPT = Batch((Group(2048, 1, 0),))


def test_points_alike_share_their_costs() -> None:
    costs, (deployment, launch, _) = PointCosts(), SERVED
    costs.make_room(replace(deployment, max_num_seqs=512), launch)
    assert costs.of(deployment, launch) is costs.of(replace(deployment, max_num_seqs=8), launch)
    assert costs.wave(deployment, launch) is costs.wave(deployment, launch)


def test_ranks_that_do_the_same_take_as_long_either_way() -> None:
    costs, (deployment, launch, _) = PointCosts(), SERVED
    alike = costs.wave(deployment, launch).step([PROMPT] * 4)
    alone = costs.of(deployment, launch).step(PROMPT)
    assert alike.device_ns == pytest.approx(alone.device_ns, rel=1e-6)


def test_experts_have_less_to_do_where_ranks_are_idle() -> None:
    costs, (deployment, launch, _) = PointCosts(), SERVED
    wave = costs.wave(deployment, launch)
    assert wave.step([PROMPT, *[Batch(())] * 3]).device_ns < wave.step([PROMPT] * 4).device_ns
