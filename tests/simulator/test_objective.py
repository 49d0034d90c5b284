"""Objectives and which way they improve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.simulator.objective import Direction, Objective, parse_objective


@pytest.mark.parametrize(
    ("text", "objective", "direction"),
    [
        ("cost", Objective("cost"), "minimise"),
        ("GPU-hours", Objective("gpu_hours"), "minimise"),
        ("energy", Objective("energy"), "minimise"),
        ("throughput", Objective("throughput"), "maximise"),
        ("output_token_throughput", Objective("throughput"), "maximise"),
        (" goodput ", Objective("goodput"), "maximise"),
        ("ttft:p95", Objective("ttft", "p95"), "minimise"),
        ("e2e : mean", Objective("e2e", "mean"), "minimise"),
    ],
)
def test_reads(text: str, objective: Objective, direction: Direction) -> None:
    assert parse_objective(text) == objective
    assert objective.direction == direction
    assert parse_objective(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "rule", "hint"),
    [
        ("costs", "objective `costs` is unknown", "`cost`"),
        ("ttft", "no statistic", "`ttft:p95`"),
        ("enrgy", "unknown", "`energy`"),
        ("throughput:p95", "one number", "`throughput`"),
        ("cost:mean", "one number", "`cost`"),
        ("attainment", "not an objective", "attainment > 99%"),
        ("ttft:p999", "not between 0 and 100", "p95"),
        ("", "unknown", "objective: cost"),
    ],
)
def test_refuses_naming_the_rule_and_the_way_out(text: str, rule: str, hint: str) -> None:
    with pytest.raises(InputError) as told:
        parse_objective(text)
    assert rule in told.value.message
    assert hint in (told.value.hint or "")


@given(st.text())
def test_any_text_is_an_objective_or_an_input_error(text: str) -> None:
    try:
        objective = parse_objective(text)
    except InputError:
        return
    assert parse_objective(str(objective)) == objective
