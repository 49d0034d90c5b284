"""Which answers come first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.search.answers import Answer
from servecast.search.ranking import distinct, nearest_misses, pareto, rank
from tests.search_cases import BASE, answer, objectives

FIGURES = st.integers(1, 5).map(float)
FRONTS = st.lists(st.tuples(FIGURES, FIGURES), min_size=1, max_size=12)
COST_AND_RATE = objectives("cost", "throughput")


def values(answers: list[Answer]) -> list[tuple[float, ...]]:
    return [one.values for one in answers]


def is_better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """By definition, cost to be made small and throughput large."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(FRONTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    answers = [answer(*point) for point in points]
    expected = [p for p in points if not any(is_better(other, p) for other in points)]
    assert values(pareto(answers, COST_AND_RATE)) == expected


@given(FRONTS)
def test_a_rank_of_several_objectives_is_the_front_in_some_order(
    points: list[tuple[float, float]],
) -> None:
    answers = [answer(*point) for point in points]
    ranked = rank(answers, COST_AND_RATE)
    assert sorted(values(ranked)) == sorted(values(pareto(answers, COST_AND_RATE)))


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=12))
def test_one_objective_ranks_the_best_within_a_tie_first(costs: list[float]) -> None:
    ranked = rank([answer(cost) for cost in costs], objectives("cost"))
    assert ranked[0].values[0] <= min(costs) * 1.011
    assert sorted(values(ranked)) == sorted((cost,) for cost in costs)


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=12))
def test_what_is_to_be_large_ranks_the_largest_first(rates: list[float]) -> None:
    ranked = rank([answer(rate) for rate in rates], objectives("throughput"))
    assert ranked[0].values[0] >= max(rates) / 1.011


def test_a_tie_is_decided_by_the_slack_to_the_slos() -> None:
    tight, easy = answer(1.000, violations=(-0.1,)), answer(1.002, violations=(-0.6,))
    assert rank([tight, easy], objectives("cost")) == [easy, tight]
    dear = answer(1.5, violations=(-0.9,))
    assert rank([dear, tight], objectives("cost")) == [tight, dear]


def test_of_equals_the_smaller_limits_come_first() -> None:
    small, large = (answer(1.0, deployment=replace(BASE, max_num_seqs=n)) for n in (8, 64))
    assert rank([large, small], objectives("cost")) == [small, large]


def test_what_misses_an_slo_is_not_ranked() -> None:
    good, bad = answer(5.0), answer(1.0, violations=(0.2,))
    assert rank([bad, good], objectives("cost")) == [good]
    assert rank([bad], objectives("cost")) == []
    assert rank([bad], COST_AND_RATE) == []


def test_the_knee_comes_before_the_ends_of_the_front() -> None:
    ends = [answer(1.0, 1.0), answer(10.0, 10.0)]
    knee = answer(3.0, 9.0)
    assert rank([*ends, knee], COST_AND_RATE)[0] is knee


def test_an_undefined_price_comes_last_and_breaks_nothing() -> None:
    known, unknown = answer(2.0, 1.0), answer(float("inf"), 2.0)
    assert rank([unknown, known], COST_AND_RATE)[0] is known
    cheap = answer(2.0)
    for undefined in (float("inf"), float("nan")):
        ranked = rank([answer(undefined), cheap], objectives("cost"))
        assert ranked[0] is cheap


def test_the_nearest_miss_is_the_one_whose_worst_slo_is_nearest() -> None:
    near, far = answer(9.0, violations=(-0.5, 0.1)), answer(1.0, violations=(0.3, 0.2))
    assert nearest_misses([far, answer(1.0), near]) == [near, far]


def test_a_simulated_miss_is_preferred_to_an_estimated_one() -> None:
    seen = answer(1.0, violations=(3.0,))
    guessed = replace(answer(1.0, violations=(0.1,)), result=None, rung="estimate")
    assert nearest_misses([guessed, seen]) == [seen]
    assert nearest_misses([guessed]) == [guessed]


def test_of_equal_misses_the_one_on_fewer_gpus_comes_first() -> None:
    few, many = (
        answer(1.0, violations=(0.5,), deployment=replace(BASE, replicas=n)) for n in (1, 4)
    )
    assert nearest_misses([many, few]) == [few, many]


def test_limits_that_change_nothing_are_one_answer() -> None:
    small, large = (answer(1.0, deployment=replace(BASE, max_num_seqs=n)) for n in (8, 64))
    assert distinct([small, large]) == [small]


@pytest.mark.parametrize("field", [{"replicas": 2}, {"tensor_parallel_size": 2}])
def test_another_shape_is_another_answer_even_with_equal_figures(field: dict[str, int]) -> None:
    one, other = answer(1.0), answer(1.0, deployment=replace(BASE, **field))  # type: ignore[arg-type]
    assert distinct([one, other]) == [one, other]


def test_another_figure_is_another_answer() -> None:
    answers = [answer(1.0), answer(1.1), answer(1.0, violations=(-0.4,))]
    assert distinct(answers) == answers
