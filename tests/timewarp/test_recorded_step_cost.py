"""Steps are priced as they were recorded, and between those as they go with what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group
from servecast.primitives.cost_file import read_costs, write_costs
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, cost_table
from servecast.timewarp.recorded_step_cost import RecordedStepCost
from servecast.timewarp.recorded_steps import recorded_tables
from servecast.timewarp.recorded_work import StepWork, pairs
from tests.timewarp.test_recorder import DEVICE, HOST


def decode(sequences: int, mean: int) -> Batch:
    return Batch((Group(1, sequences, sequences * mean, 0, True),))


def mixed(sequences: int, mean: int, *chunks: tuple[int, int]) -> Batch:
    groups = [Group(new, 1, past) for new, past in chunks]
    return Batch((Group(1, sequences, sequences * mean, 0, True), *groups))


def truth_ns(batch: Batch) -> int:
    """A server of its own: decodes by what they read, prompts by tokens and pairs."""
    work = StepWork.of(batch)
    if work.is_decode:
        return 4_000_000 + 20_000 * work.sequences + 3 * work.context_tokens
    tokens = work.queries + work.new_tokens
    return 7_000_000 + 9_000 * tokens + 3 * work.context_tokens + work.pairs // 4


def batches() -> Iterator[Batch]:
    rng = np.random.default_rng(3)
    for _ in range(80):
        sequences, mean, new, past = rng.integers(1, [64, 2000, 512, 900]).tolist()
        yield decode(sequences, mean)
        yield mixed(sequences, mean, (new, past), (new // 2 + 1, 0))


def tables() -> list[CostTable]:
    known = list(batches())
    points = np.array([StepWork.of(batch) for batch in known], dtype=np.int64)
    device = np.array([truth_ns(batch) / 1e9 for batch in known])
    return [
        cost_table(DEVICE, points, device),
        cost_table(HOST, points, np.full(len(known), 300e-6)),
    ]


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
