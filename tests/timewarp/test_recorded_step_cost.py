"""Steps are priced as they were recorded, and between those as they go with what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.batch import Batch
from servecast.primitives.cost_file import read_costs, write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, cost_table
from servecast.timewarp.recorded_step_cost import RecordedStepCost
from servecast.timewarp.recorded_steps import recorded_tables
from servecast.timewarp.recorded_work import StepWork, pairs
from tests.recordings import batches, decode, mixed, server_tables, truth_ns
from tests.timewarp.test_recorder import DEVICE, HOST


def tables() -> list[CostTable]:
    return server_tables(model="m")


COST = RecordedStepCost(*recorded_tables(tables()))


def test_what_was_recorded_is_priced_as_it_was() -> None:
    for batch in batches():
        assert COST.is_recorded(batch)
        assert COST.step(batch) == (truth_ns(batch), 300_000)


@pytest.mark.parametrize(
    "batch", [decode(48, 777), mixed(20, 1234, (400, 100)), mixed(5, 9, (7, 0))]
)
def test_what_was_not_recorded_goes_with_what_is_in_it(batch: Batch) -> None:
    assert not COST.is_recorded(batch)
    assert COST.step(batch).device_ns == pytest.approx(truth_ns(batch), rel=0.01)
    assert COST.step(batch).host_ns == pytest.approx(300_000, rel=0.01)


def test_the_error_is_how_far_recorded_steps_are_from_their_fit() -> None:
    assert COST.relative_error < 0.001
    noisy = RecordedStepCost(*recorded_tables(server_tables(noise=0.2)))
    assert noisy.relative_error == pytest.approx(0.1, abs=0.02)  # the mean of 0 to 20 %


def test_a_factor_holds_for_recorded_and_for_fitted_steps() -> None:
    slower = RecordedStepCost(*recorded_tables(tables()), factor=1.5)
    for batch in (next(batches()), decode(48, 777)):
        assert slower.step(batch).device_ns == pytest.approx(1.5 * COST.step(batch).device_ns)
    assert slower.relative_error == pytest.approx(COST.relative_error)


def test_a_run_costs_what_its_steps_cost() -> None:
    steps = [COST.step(decode(48, context)) for context in range(700, 800)]
    total = sum(step.device_ns + step.host_ns for step in steps)
    assert COST.decode_run(48).run_ns(700, 100) == total


def test_steps_that_are_alike_count_with_their_mean() -> None:
    point = np.array([StepWork.of(decode(4, 100))] * 2, dtype=np.int64)
    point[1, 3] = 160  # the longest context does not tell them apart
    device = cost_table(DEVICE, point, np.array([0.004, 0.006]))
    cost = RecordedStepCost(device, cost_table(HOST, point, np.array([0.001, 0.001])))
    assert cost.step(decode(4, 100)) == (5_000_000, 1_000_000)


def test_the_pairs_of_a_chunk_count_its_own_tokens() -> None:
    assert pairs(3, 10) == 11 + 12 + 13
    assert StepWork.of(mixed(1, 5, (3, 10), (2, 0))).pairs == 36 + 3


def test_a_recording_is_read_back_from_a_cost_file(tmp_path: Path) -> None:
    write_costs(tables(), tmp_path / "steps.csv.gz")
    again = RecordedStepCost(*recorded_tables(read_costs(tmp_path / "steps.csv.gz")))
    assert again.step(decode(48, 777)) == COST.step(decode(48, 777))


def test_the_steps_of_two_servers_are_not_mixed() -> None:
    other = [
        replace(table, key=replace(table.key, variant=table.key.variant.replace("=m", "=n")))
        for table in tables()
    ]
    store = CostStore([*tables(), *other])
    with pytest.raises(InputError, match=r"(?s)of 2 there are.*model=m.*model=n"):
        recorded_tables(store)
    assert recorded_tables(store, model="n")[0].key.traits["model"] == "n"
    with pytest.raises(InputError, match="of 0 there are"):
        recorded_tables(store, device="a100_sxm_80gb")
