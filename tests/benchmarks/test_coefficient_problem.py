"""Fitting few coefficients: what is in the data is found, what is not stays at its default."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coefficient_problem import UNKNOWNS, Problem, Unknown, Values, kept, score

RNG = np.random.default_rng(3)
GROUPS = np.array([f"group {index}" for index in range(8) for _ in range(40)])
COUNT = len(GROUPS)


def problem(
    truth: Values, *, unknowns: tuple[Unknown, ...] = UNKNOWNS, noise: float = 0.03
) -> Problem:
    """Misfits that vanish, but for noise, where the unknowns are at `truth`."""
    place = np.array([each.default for each in unknowns])
    slopes = RNG.uniform(0.0, 1.0, (COUNT, 2, len(unknowns)))
    scatter = RNG.normal(0.0, noise, (COUNT, 2))
    return Problem(unknowns, place, slopes @ (place - truth) + scatter, slopes, GROUPS)


def moved(**places: float) -> Values:
    return np.array([places.get(each.name, each.default) for each in UNKNOWNS])


def test_the_truth_is_found_through_noise() -> None:
    truth = moved(vllm_step_s=2.0, compute_factor=0.2)
    assert problem(truth).solved() == pytest.approx(truth, abs=0.1)


def test_bounds_hold() -> None:
    truth = moved(sglang_step_s=-2.0, compute_factor=1.5)
    found = problem(truth, noise=0.0).solved()
    low = [each.place(each.low) for each in UNKNOWNS]
    high = [each.place(each.high) for each in UNKNOWNS]
    assert np.all(found >= low)
    assert np.all(found <= high)
    names = [each.name for each in UNKNOWNS]
    assert found[names.index("sglang_step_s")] == 0.0
    factor = names.index("compute_factor")
    others = np.where(np.arange(len(names)) == factor, truth, moved())
    assert problem(others).only([factor]).solved()[0] == pytest.approx(np.log(2.0))


def test_without_evidence_the_default_stays() -> None:
    silent = problem(moved())
    silent.slopes[..., 3] = 0.0
    assert silent.solved()[3] == pytest.approx(UNKNOWNS[3].default)


def test_rows_that_do_not_count_do_not_count() -> None:
    truth = moved(compute_factor=0.3)
    found = problem(truth)
    found.log_ratios[::3, 1] = np.nan
    assert found.solved() == pytest.approx(truth, abs=0.1)


def test_a_group_gone_wrong_bends_the_fit_little_and_does_not_when_left_out() -> None:
    found = problem(moved(compute_factor=0.2))
    found.log_ratios[GROUPS == "group 0"] += 1.5
    index = [each.name for each in UNKNOWNS].index("compute_factor")
    alone = found.only([index])
    assert alone.solved("group 0")[0] == pytest.approx(0.2, abs=0.03)
    assert abs(alone.solved()[0] - 0.2) < 0.15


def test_only_coefficients_that_help_groups_left_out_are_kept() -> None:
    truth = moved(vllm_async_step_s=1.5, experts_compute_factor=0.4)
    names = {UNKNOWNS[index].name for index in kept(problem(truth), most=5)}
    assert names == {"vllm_async_step_s", "experts_compute_factor"}
    assert kept(problem(moved()), most=5) == []
    assert len(kept(problem(moved(**{each.name: each.default + 0.3 for each in UNKNOWNS})), 3)) == 3


def test_every_group_counts_alike_in_the_score() -> None:
    ratios = np.zeros((COUNT, 2))
    ratios[GROUPS == "group 1", 0] = 0.4
    assert score(ratios, GROUPS) == pytest.approx(0.4 / 8)
    fewer = np.append(np.flatnonzero(GROUPS == "group 1")[:5], np.flatnonzero(GROUPS != "group 1"))
    assert score(ratios[fewer], GROUPS[fewer]) == pytest.approx(0.4 / 8)


@pytest.mark.parametrize("unknown", UNKNOWNS, ids=lambda each: each.name)
def test_places_and_values_are_each_others_inverse(unknown: Unknown) -> None:
    for value in (max(unknown.low, 1e-9), unknown.value(unknown.default), unknown.high):
        assert unknown.value(unknown.place(value)) == pytest.approx(value)
    assert unknown.low <= unknown.value(unknown.default) <= unknown.high
