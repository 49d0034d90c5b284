"""Step durations fed back: in order, whatever is computed, and no step more."""

from __future__ import annotations

import pytest

from servecast.errors import InputError
from servecast.primitives.batch import Batch, Group
from servecast.timewarp.recorded_cost import RecordedCost
from tests.constant_cost import ConstantStepCost

DECODE = Batch((Group(1, 3, 90, 0, True),))


def test_steps_take_as_long_as_those_recorded() -> None:
    cost = RecordedCost([5, 7], ConstantStepCost(1))
    assert [cost.step(DECODE), cost.step(DECODE)] == [(5, 0), (7, 0)]
    assert cost.steps == 2


def test_a_step_that_was_not_recorded_is_refused() -> None:
    cost = RecordedCost([5], ConstantStepCost(1))
    cost.step(DECODE)
    with pytest.raises(InputError, match="the recording has 1 steps"):
        cost.step(DECODE)


def test_other_questions_are_answered_by_the_other_cost() -> None:
    assert RecordedCost([], ConstantStepCost(4)).decode_run(3).run_ns(10, 2) == 8
