"""What the GPUs of a fleet draw: of one pool as of a deployment, of several their sum."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from servecast.simulator.energy import energy
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.simulate import simulate
from servecast.traces.classes import Classes
from tests.search_cases import workload
from tests.toy_deployments import DENSE, DEVICE

METERED = replace(DENSE, accelerator=replace(DEVICE, idle_w=100.0, tdp_w=500.0), replicas=2)
TRAFFIC = workload(requests=120, rate=12.0)


def test_one_pool_draws_what_a_deployment_draws() -> None:
    fleet = simulate_fleet(Fleet((Pool("all", METERED),)), TRAFFIC)
    assert fleet.wh_spent == pytest.approx(simulate(METERED, TRAFFIC).wh_spent)
    assert fleet.wh() == pytest.approx(fleet.wh_spent / fleet.output_tokens * 1e6)


def test_pools_draw_together_and_one_that_nobody_knows_hides_all() -> None:
    names = ["a" if row % 3 else "b" for row in range(len(TRAFFIC))]
    traffic = replace(TRAFFIC, classes=Classes.of(names))
    pools = (
        Pool("one", METERED, classes=("a",)),
        Pool("two", replace(METERED, tensor_parallel_size=2, replicas=1), classes=("b",)),
    )
    found = simulate_fleet(Fleet(pools), traffic)
    drawn = [
        energy(replace(member.pool.deployment, replicas=1), [member.engine.log], found.duration_s)
        for member in found.members
    ]
    assert found.wh_spent == pytest.approx(np.sum([each.wh for each in drawn if each is not None]))
    hidden = replace(pools[1], deployment=replace(DENSE, tensor_parallel_size=2))
    assert isnan(simulate_fleet(Fleet((pools[0], hidden)), traffic).wh_spent)
