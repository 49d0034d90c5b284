"""Who pays for which part of the steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.simulator.class_shares import class_shares
from servecast.simulator.result import Result
from servecast.simulator.run_log import RunLog
from servecast.simulator.simulate import simulate
from servecast.traces.classes import Classes
from tests.constant_cost import ConstantStepCost
from tests.made_records import made_records
from tests.search_cases import workload
from tests.toy_deployments import DENSE


def result(prompts: list[int], outputs: list[int], names: list[str], log: RunLog) -> Result:
    times = [1.0] * len(prompts)
    records = replace(
        made_records(times, times, times, outputs), prompt_tokens=np.array(prompts, np.int64)
    )
    return Result(
        workload="made up",
        records=records,
        logs=[log],
        arrived=len(prompts),
        rejected=np.zeros(0, dtype=np.int64),
        truncated=0,
        is_open_loop=True,
        deployment=DENSE,
        cost=ConstantStepCost(1),
        num_blocks=100,
        peak_blocks=10,
        classes=Classes.of(names),
    )


def test_a_step_is_shared_by_its_tokens() -> None:
    log = RunLog()
    log.append(0, 400, 1, 1, 10, 0, 3, 0)  # three tokens of a prompt beside one of an answer
    log.append(400, 600, 3, 2, 11, 0, 0, 0)
    found = class_shares(result([3, 1], [1, 5], ["reads", "writes"], log))
    # Prompts took 300 of 1000, of which 3 in 4 tokens are the reader's, who writes no second one.
    assert found == {"reads": pytest.approx(0.225), "writes": pytest.approx(0.775)}


def test_what_was_found_in_a_cache_weighs_nothing() -> None:
    log = RunLog()
    log.append(0, 100, 1, 0, 0, 0, 4, 0)
    made = result([4, 4], [1, 1], ["new", "known"], log)
    records = replace(made.records, cached_tokens=np.array([0, 4], np.int64))
    assert class_shares(replace(made, records=records)) == {"new": 1.0, "known": 0.0}


def test_without_classes_nobody_pays() -> None:
    made = result([1], [1], ["a"], RunLog())
    assert class_shares(made) == {"a": 0.0}
    assert class_shares(replace(made, classes=None)) == {}


def test_alike_classes_pay_alike_and_all_together_everything() -> None:
    traffic = workload(requests=400, rate=20.0)
    names = ["a" if row % 2 else "b" for row in range(len(traffic))]
    served = simulate(DENSE, replace(traffic, classes=Classes.of(names)))
    shares = class_shares(served)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["a"] == pytest.approx(0.5, abs=0.06)
