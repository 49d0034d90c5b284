"""Answers for single deployments: by the cheapest rung that can give them, none hidden by it."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from servecast.primitives.deployment import Deployment
from servecast.search.answers import Answer, violation
from servecast.search.evaluator import Evaluator
from servecast.search.ranking import rank
from servecast.search.space import Candidate, candidates
from servecast.simulator.slo import parse_slo
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.search_cases import BASE, candidate, evaluator, objectives, space, workload

LIMITS = ("ttft:p95 < 800ms", "tpot:p95 < 60ms")
BUSY = workload(requests=250, rate=18)


def linear(asked: Evaluator, one: Candidate) -> Answer:
    """The fewest replicas by trying one after another."""
    tried = [asked.simulated(one, count) for count in range(1, one.max_replicas + 1)]
    return next((answer for answer in tried if answer.is_feasible), tried[-1])


@pytest.mark.parametrize("rate", [2, 9, 18, 33, 60])
@pytest.mark.parametrize("ranks", [1, 2])
def test_bisection_finds_the_fewest_replicas_that_meet_the_slos(rate: int, ranks: int) -> None:
    asked = evaluator(workload(requests=250, rate=rate), *LIMITS)
    one = candidate(replace(BASE, tensor_parallel_size=ranks), gpus=8)
    found, expected = asked.answer(one), linear(asked, one)
    assert found.is_feasible == expected.is_feasible
    if expected.is_feasible:
        assert found.deployment == expected.deployment
        assert found.values == expected.values


def test_bisection_saves_simulations() -> None:
    asked = evaluator(workload(requests=250, rate=9), *LIMITS)
    asked.answer(candidate(BASE, gpus=64))
    assert asked.simulations <= 1 + 6


def test_without_a_price_the_whole_budget_serves() -> None:
    asked = evaluator(workload(), *LIMITS, objective=("throughput",), fewest=False)
    assert asked.answer(candidate(BASE, gpus=4)).deployment.replicas == 4
    assert asked.simulations == 1


def test_an_overload_needs_no_simulation() -> None:
    asked = evaluator(workload(rate=5000), *LIMITS)
    answer = asked.answer(candidate(BASE, gpus=2))
    assert asked.simulations == 0
    assert answer.rung == "estimate"
    assert answer.result is None
    assert not answer.is_feasible
    assert "overloaded: offered" in answer.reason
    assert answer.deployment.replicas == 2, "not even the whole budget bears it"


def test_the_less_overloaded_is_the_nearer_miss() -> None:
    asked = evaluator(workload(rate=5000), *LIMITS)
    two, four = (asked.answer(candidate(BASE, gpus=gpus)) for gpus in (2, 4))
    assert 0 < four.worst < two.worst < 1e5


def test_a_latency_below_the_floor_needs_no_simulation() -> None:
    asked = evaluator(workload(rate=0.1), "tpot:mean < 1ms")
    answer = asked.answer(candidate(BASE))
    assert asked.simulations == 0
    assert "even without load" in answer.reason
    assert answer.worst > 0


def test_without_slos_an_overload_is_still_no_answer() -> None:
    asked = evaluator(workload(requests=400, rate=500))
    answer = asked.answer(candidate(BASE, gpus=1))
    assert answer.result is not None
    assert answer.result.is_overloaded
    assert not answer.is_feasible


def test_an_answer_is_remembered() -> None:
    asked = evaluator(workload(), *LIMITS)
    one = candidate(BASE)
    first = asked.answer(one)
    count = asked.simulations
    assert asked.answer(one) is first
    assert asked.simulations == count


def priced(ranks: int, usd: float) -> Deployment:
    return replace(BASE, tensor_parallel_size=ranks, usd_per_gpu_hour=usd)


def exhaustive(traffic: Workload, all_: list[Candidate], objective: str) -> Answer:
    """The best of all choices at all numbers of replicas, each simulated."""
    asked = evaluator(traffic, *LIMITS, objective=(objective,))
    answers = [
        asked.simulated(one, count) for one in all_ for count in range(1, one.max_replicas + 1)
    ]
    return rank(answers, objectives(objective))[0]


@pytest.mark.parametrize("objective", ["cost", "gpu_hours"])
@pytest.mark.parametrize("rate", [4, 18, 40])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_price_bound_never_hides_a_better_answer(
    objective: str, rate: int, backwards: bool
) -> None:
    traffic = workload(requests=200, rate=rate)
    asked = space(gpus=8, tensor_parallel_size=[1, 2, 4], max_num_seqs=[8, 64])
    all_, _ = candidates(asked)
    bounded = evaluator(traffic, *LIMITS, objective=(objective,))
    answers = [bounded.answer(one) for one in (reversed(all_) if backwards else all_)]
    best = rank(answers, objectives(objective))[0]
    expected = exhaustive(traffic, all_, objective)
    assert best.values[0] <= expected.values[0] * 1.01
    assert best.is_feasible


def test_more_gpus_of_a_cheaper_kind_are_not_hidden() -> None:
    one_dear = Candidate({"n": 0}, priced(1, 9.0), candidate(priced(1, 9.0)).memory, 8)
    cheap = Candidate({"n": 1}, priced(2, 1.0), candidate(priced(2, 1.0)).memory, 4)
    asked = evaluator(workload(requests=200, rate=4), *LIMITS)
    answers = [asked.answer(one_dear), asked.answer(cheap)]
    assert all(answer.is_feasible for answer in answers)
    best = rank(answers, objectives("cost"))[0]
    assert best.deployment.gpus > answers[0].deployment.gpus


def test_the_bound_saves_simulations() -> None:
    all_, _ = candidates(space(gpus=8, tensor_parallel_size=[1, 2, 4, 8]))
    asked = evaluator(workload(requests=600, rate=4), *LIMITS)
    answers = [asked.answer(one) for one in all_]
    assert any("costs more on" in answer.reason for answer in answers)
    assert not any(a.is_feasible for a in answers if a.rung == "estimate")


def test_a_closed_loop_is_not_bounded_by_price() -> None:
    traffic = closed_loop(workload(requests=120), 16)
    asked = evaluator(traffic, "tpot:p95 < 1s")
    all_, _ = candidates(space(gpus=4, tensor_parallel_size=[1, 4]))
    assert all(asked.answer(one).rung == "simulate" for one in all_)


@pytest.mark.parametrize(
    ("slo", "reached", "expected"),
    [
        ("ttft:p95 < 500ms", 0.25, -0.5),
        ("ttft:p95 < 500ms", 1.0, 1.0),
        ("ttft:p95 < 500ms", 0.5, 1e-9),
        ("ttft:p95 <= 500ms", 0.5, 0.0),
        ("attainment > 80%", 0.4, 0.5),
        ("attainment > 80%", 0.88, -0.1),
        ("throughput > 100 tok/s", 50.0, 0.5),
    ],
)
def test_a_violation_is_a_share_of_the_threshold(slo: str, reached: float, expected: float) -> None:
    assert violation(parse_slo(slo), reached) == pytest.approx(expected)


@pytest.mark.parametrize("reached", [nan, inf])
def test_what_is_not_a_number_violates_more_than_any_number(reached: float) -> None:
    slo = parse_slo("tpot:p95 < 40ms")
    assert violation(slo, reached) > violation(slo, 3600.0)
