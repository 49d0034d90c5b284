"""The energy of a run, by hand, and by the laws that it keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.primitives.accelerator import Accelerator
from servecast.primitives.batch import Batch, Group
from servecast.primitives.ideal_source import IdealSource
from servecast.primitives.pipeline import NO_HOST
from servecast.primitives.power import power_w
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.energy import energy
from servecast.simulator.objective import parse_objective
from servecast.simulator.run_log import RunLog
from servecast.simulator.simulate import simulate
from tests.search_cases import workload
from tests.toy_deployments import DENSE, DEVICE

METERED: Accelerator = replace(DEVICE, idle_w=100.0, tdp_w=500.0)
DEPLOYED = replace(DENSE, accelerator=METERED)
S = 1_000_000_000


def log(*rows: tuple[int, int, int, int, int]) -> RunLog:
    """Rows of (duration in ns, steps, sequences, context, chunk tokens)."""
    made, start_ns = RunLog(), 0
    for duration_ns, steps, sequences, context, chunk_tokens in rows:
        made.append(start_ns, duration_ns, steps, sequences, context, 0, chunk_tokens, 0)
        start_ns += duration_ns
    return made


def test_nothing_under_way_draws_the_idle_power_of_every_gpu() -> None:
    found = energy(replace(DEPLOYED, tensor_parallel_size=2), [log(), log()], 3600.0)
    assert found is not None
    assert found.wh == pytest.approx(2 * 2 * 100)
    assert (found.busy, found.utilisation) == (0.0, 0.0)


def test_a_step_draws_by_its_own_utilisation() -> None:
    ideal = CompiledStepCost(DEPLOYED, IdealSource(), NO_HOST)
    decode_ns = ideal.decode_run(4).run_ns(100, 10)
    mixed = Batch((Group(1, 4, 4 * 110, 0, is_decode=True), Group(64, 1, 0)))
    mixed_ns = ideal.step(mixed).device_ns
    rows = log((2 * decode_ns, 10, 4, 100, 0), (3 * mixed_ns, 1, 4, 110, 64))
    lasted_s = (2 * decode_ns + 3 * mixed_ns) * 2 / 1e9
    found = energy(DEPLOYED, [rows], lasted_s)
    half_w, third_w = power_w(METERED, np.array([1 / 2, 1 / 3]))
    joules = (2 * decode_ns * half_w + 3 * mixed_ns * third_w) / 1e9 + 100 * lasted_s / 2
    assert found is not None
    assert found.wh == pytest.approx(joules / 3600)
    assert found.busy == pytest.approx(0.5)
    assert found.utilisation == pytest.approx(2 * (decode_ns + mixed_ns) / 1e9 / lasted_s)


def test_a_run_draws_between_idle_and_tdp_and_more_replicas_draw_more() -> None:
    traffic = workload(rate=20.0)
    one, two = (simulate(replace(DEPLOYED, replicas=count), traffic) for count in (1, 2))
    assert one.energy is not None
    assert two.energy is not None
    average_w = one.wh_spent * 3600 / one.duration_s
    assert 100 < average_w < 500
    assert 0 < one.energy.utilisation < 1
    assert two.wh_spent > one.wh_spent
    per_token = one.wh_spent / one.output_tokens * 1e6
    assert one.objective(parse_objective("energy"), []) == pytest.approx(per_token)


def test_nothing_is_claimed_where_powers_or_the_steps_of_each_gpu_are_not_known() -> None:
    assert energy(DENSE, [log()], 1.0) is None
    assert energy(replace(DEPLOYED, pipeline_parallel_size=2), [log()], 1.0) is None
    assert energy(replace(DEPLOYED, data_parallel_size=2), [log()], 1.0) is None
    result = simulate(DENSE, workload(requests=20))
    assert result.energy is None
    assert np.isnan(result.objective(parse_objective("energy"), []))
