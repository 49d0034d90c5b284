"""Points that a simulation answers beside its own: simulated themselves, they say the same."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from servecast.search.equals import equals
from servecast.search.evaluator import Evaluator
from servecast.search.points import Points, points_of
from servecast.search.space import candidates
from servecast.simulator.records import Records
from servecast.simulator.result import Result
from tests.search_cases import evaluator, space, workload

SPACE = space(
    max_num_seqs=[2, 4, 8, 16, 64, 128],
    max_num_batched_tokens=[256, 512],
    gpu_memory_utilization=[0.07, 0.9],
)
FOUND, _ = candidates(SPACE)


def seen(rate: float) -> tuple[Evaluator, Points]:
    one = evaluator(workload(80, rate), "ttft:p95 < 1s", fewest=True)
    return one, points_of(one, FOUND)


def simulated(one: Evaluator, points: Points, row: int) -> Result:
    result = one.simulated(points.candidate_at(row), int(points.replicas[row])).result
    assert result is not None
    return result


def columns(records: Records) -> list[list[int]]:
    return [getattr(records, field.name).tolist() for field in fields(records)]


@pytest.mark.parametrize("rate", [2.0, 8.0, 30.0])
def test_what_is_said_to_be_equal_is_equal_to_the_nanosecond(rate: float) -> None:
    one, points = seen(rate)
    told = 0
    for row in range(0, len(points), 7):
        result = simulated(one, points, row)
        for other in equals(points, row, result).tolist():
            told += 1
            assert columns(simulated(one, points, other).records) == columns(result.records)
    assert told


def test_a_limit_that_was_reached_answers_nothing_else() -> None:
    one, points = seen(30.0)
    tight = [
        row for row in range(len(points)) if points.candidate_at(row).deployment.max_num_seqs == 2
    ]
    assert all(not len(equals(points, row, simulated(one, points, row))) for row in tight[:4])


def test_siblings_differ_in_one_dimension_alone() -> None:
    _, points = seen(2.0)
    rows = points.siblings(0, "max_num_seqs")
    choices = [dict(points.candidate_at(row).choice) for row in rows.tolist()]
    assert len({choice.pop("max_num_seqs") for choice in choices}) == len(choices) == 6
    assert all(choice == choices[0] for choice in choices)
    assert np.unique(points.replicas[rows]).tolist() == [points.replicas[0]]
