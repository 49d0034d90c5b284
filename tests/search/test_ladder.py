"""The climb: few points are looked at, and the best of all is among them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest

from servecast.search.answers import Answer
from servecast.search.ladder import FEWEST, Climb, climb, first_part
from servecast.search.points import points_of
from servecast.search.ranking import rank
from servecast.search.space import Candidate, Space, candidates, key_of
from servecast.traces.workload import Workload
from tests.search_cases import evaluator, objectives, space, workload

LIMITS = ("ttft:p95 < 800ms", "tpot:p95 < 60ms")
LARGE = space(
    tensor_parallel_size=[1, 2, 4],
    max_num_seqs=[4, 8, 16, 32, 64, 128],
    max_num_batched_tokens=[64, 256, 512, 1024],
    gpu_memory_utilization=[0.7, 0.8, 0.9],
)
TRAFFIC = workload(requests=60)


def found(asked: Space = LARGE) -> Sequence[Candidate]:
    return candidates(asked)[0]


def climbed(
    *names: str,
    trials: int = 40,
    seed: int = 0,
    limits: Sequence[str] = LIMITS,
    traffic: Workload = TRAFFIC,
) -> Climb:
    names = names or ("cost",)
    one = evaluator(traffic, *limits, objective=names, fewest="cost" in names)
    return climb(one, found(), trials=trials, seed=seed)


def best_of_all(name: str, limits: Sequence[str] = LIMITS) -> float:
    one = evaluator(TRAFFIC, *limits, objective=(name,), fewest=name == "cost")
    return rank([one.baseline(each) for each in found()], objectives(name))[0].values[0]


def asked_for(found: Climb) -> list[object]:
    return [(key_of(each.candidate.choice), each.deployment.replicas) for each in found.answers]


@pytest.mark.parametrize("name", ["cost", "throughput", "ttft:p95", "goodput", "e2e:p90"])
def test_the_best_of_all_is_found_by_looking_at_few(name: str) -> None:
    result = climbed(name)
    assert len(result.answers) <= 40 < len(found()) / 4
    best = rank(result.answers, objectives(name))[0].values[0]
    assert best == pytest.approx(best_of_all(name), rel=0.01)


def test_a_limit_that_the_estimate_knows_nothing_of_is_learnt() -> None:
    limits = ("attainment > 90%", "e2e:p95 < 4s", *LIMITS)
    best = rank(climbed(limits=limits).answers, objectives("cost"))[0].values[0]
    assert best == pytest.approx(best_of_all("cost", limits), rel=0.01)


def test_no_point_is_looked_at_twice_and_the_seed_decides_nothing_with_one_objective() -> None:
    looks = asked_for(climbed(seed=1))
    assert len(looks) == len(set(looks))
    assert looks == asked_for(climbed(seed=2))


def test_several_objectives_have_the_ends_of_their_front() -> None:
    answers = climbed("throughput", "ttft:p95", trials=40).answers
    front = rank(answers, objectives("throughput", "ttft:p95"))
    assert max(a.values[0] for a in front) == pytest.approx(best_of_all("throughput"), rel=0.01)
    assert min(a.values[1] for a in front) == pytest.approx(best_of_all("ttft:p95"), rel=0.03)


def test_where_nothing_meets_the_slos_the_nearest_is_sought() -> None:
    limits = ("ttft:p95 < 800ms", "tpot:p95 < 3ms")
    answers = climbed(limits=limits, trials=30).answers
    assert not any(answer.is_feasible for answer in answers)
    one = evaluator(TRAFFIC, *limits, fewest=True)
    nearest = min(one.baseline(each).worst for each in found())
    assert min(answer.worst for answer in answers) == pytest.approx(nearest, rel=0.1)


def test_the_climb_says_what_each_rung_saw_and_why_it_stopped() -> None:
    estimate, simulated = climbed(trials=500).rungs
    assert estimate.points > len(found())  # each at every number of replicas
    assert 0 < simulated.points < 100
    assert simulated.name == "simulate 60 requests"
    assert simulated.stopped == "no other point is expected to be better"
    assert climbed(trials=3).rungs[1].stopped == "as many as were asked for"


def test_a_long_workload_is_simulated_in_part_first() -> None:
    long = workload(requests=4_100)
    part = first_part(long)
    assert part is not None
    assert len(part) == FEWEST
    assert np.array_equal(part.arrival_ns, long.arrival_ns[:FEWEST])
    assert first_part(TRAFFIC) is None
    result = climbed(traffic=long, trials=12)
    assert [rung.name for rung in result.rungs[1:]] == [
        "simulate 1,000 requests",
        "simulate 4,100 requests",
    ]
    assert result.rungs[2].points <= result.rungs[1].points
    assert all(whole(answer) for answer in result.answers)


def whole(answer: Answer) -> bool:
    return answer.result is not None and answer.result.arrived == 4_100


def test_points_are_every_candidate_at_every_number_of_replicas() -> None:
    one = evaluator(TRAFFIC, *LIMITS, fewest=True)
    points = points_of(one, found())
    assert len(points) == sum(each.max_replicas for each in found())
    assert points.forecast.shape == (len(points), 3)
    assert np.isfinite(points.forecast).all()
    assert points.places.min() == 0
    assert points.places.max() == 1
    all_of_them = evaluator(TRAFFIC, *LIMITS, objective=("throughput",), fewest=False)
    alone = points_of(all_of_them, found())
    assert alone.replicas.tolist() == [each.max_replicas for each in found()]


def test_what_is_hopeless_is_not_looked_at() -> None:
    limits = ("ttft:p95 < 800ms", "tpot:p95 < 4ms")
    one = evaluator(TRAFFIC, *limits, fewest=True)
    points = points_of(one, found())
    assert points.hopeless.any()
    assert not points.hopeless.all()
    hopeless = {
        (key_of(points.candidate_at(row).choice), int(points.replicas[row]))
        for row in np.flatnonzero(points.hopeless).tolist()
    }
    assert not hopeless & set(asked_for(climbed(limits=limits)))


def test_progress_counts_the_looks() -> None:
    seen: list[tuple[int, int]] = []
    one = evaluator(TRAFFIC, *LIMITS, fewest=True)
    result = climb(
        one, found(), trials=10, seed=0, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(look + 1, 10) for look in range(len(result.answers))]
    assert min((answer.worst for answer in result.answers), default=inf) < inf
