"""Costs of points: compiled once for all alike, and the same for ranks that do the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.primitives.batch import Batch, Group
from servecast.primitives.coefficients import Coefficients
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


def test_the_host_takes_what_the_coefficients_say() -> None:
    def host_ns(coefficients: Coefficients) -> tuple[int, int]:
        costs, (deployment, launch, _) = PointCosts(coefficients_of=lambda _: coefficients), SERVED
        alone = costs.of(deployment, launch).step(PROMPT).host_ns
        return alone, costs.wave(deployment, launch).step([PROMPT] * 4).host_ns

    fast, slow = host_ns(Coefficients()), host_ns(Coefficients(trtllm_step_s=5.5e-3))
    assert [b - a for a, b in zip(fast, slow, strict=True)] == [5_000_000] * 2


def test_ranks_that_do_the_same_take_as_long_either_way() -> None:
    costs, (deployment, launch, _) = PointCosts(), SERVED
    alike = costs.wave(deployment, launch).step([PROMPT] * 4)
    alone = costs.of(deployment, launch).step(PROMPT)
    assert alike.device_ns == pytest.approx(alone.device_ns, rel=1e-6)


def test_experts_have_less_to_do_where_ranks_are_idle() -> None:
    costs, (deployment, launch, _) = PointCosts(), SERVED
    wave = costs.wave(deployment, launch)
    assert wave.step([PROMPT, *[Batch(())] * 3]).device_ns < wave.step([PROMPT] * 4).device_ns
