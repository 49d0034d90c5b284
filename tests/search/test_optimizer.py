"""The search: small spaces whole, large ones by TPE, the same seed the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from servecast.search.optimizer import Study, by_estimate, search
from servecast.search.ranking import rank
from servecast.search.space import Candidate, Space, candidates, key_of
from tests.search_cases import evaluator, objectives, space, workload

LIMITS = ("ttft:p95 < 800ms", "tpot:p95 < 60ms")
SMALL = space(tensor_parallel_size=[1, 2, 4], max_num_seqs=[8, 64])
LARGE = space(
    tensor_parallel_size=[1, 2, 3, 4],
    max_num_seqs=[4, 8, 16, 32, 64, 128],
    max_num_batched_tokens=[64, 256, 512, 1024],
    gpu_memory_utilization=[0.7, 0.8, 0.9],
)


def studied(asked: Space, trials: int, seed: int = 0, *names: str) -> Study:
    """By TPE; of a climb see `test_ladder`."""
    found, _ = candidates(asked)
    names = names or ("cost",)
    one = evaluator(workload(requests=60), *LIMITS, objective=names, fewest="cost" in names)
    return search(one, found, asked.dimensions, trials=trials, seed=seed, sampler="tpe")


def asked_for(study: Study) -> list[object]:
    return [key_of(answer.candidate.choice) for answer in study.answers]


def test_a_small_space_is_answered_whole() -> None:
    found, _ = candidates(SMALL)
    study = studied(SMALL, trials=6)
    assert sorted(map(repr, asked_for(study))) == sorted(repr(key_of(c.choice)) for c in found)
    assert study.trials == 6


def test_a_whole_space_does_not_depend_on_the_seed() -> None:
    assert asked_for(studied(SMALL, 64, 1)) == asked_for(studied(SMALL, 64, 2))


@pytest.mark.parametrize("trials", [1, 2, 5, 16])
def test_a_large_space_is_looked_at_in_so_many_choices(trials: int) -> None:
    study = studied(LARGE, trials)
    keys = asked_for(study)
    assert len(keys) == len(set(keys)) == trials


def test_a_space_hardly_larger_than_the_trials_is_looked_at_nearly_whole() -> None:
    """Most of what the sampler draws late is known already: it may stop short, and never loops."""
    study = studied(SMALL, trials=5)
    assert 4 <= len(study.answers) <= 5


def test_only_what_starts_is_answered() -> None:
    study = studied(LARGE, 24)
    assert all(a.deployment.tensor_parallel_size != 3 for a in study.answers)
    limits = [a.deployment for a in study.answers]
    assert all(d.max_num_batched_tokens >= d.max_num_seqs for d in limits)


def test_combinations_that_do_not_start_are_told_to_the_sampler_free_of_charge() -> None:
    """They take a trial of the sampler and no simulation."""
    sparse = space(tensor_parallel_size=[1, 3, 5, 6, 7], max_num_seqs=list(range(1, 41)))
    found, _ = candidates(sparse)
    one = evaluator(workload(requests=30), *LIMITS)
    study = search(one, found, sparse.dimensions, trials=16, seed=0, sampler="tpe")
    assert study.trials > len(study.answers)
    assert study.trials <= 4 * 16


def test_the_same_seed_asks_the_same_and_another_seed_another() -> None:
    first = asked_for(studied(LARGE, 16, 7))
    assert asked_for(studied(LARGE, 16, 7)) == first
    assert asked_for(studied(LARGE, 16, 8)) != first


PRINT_STUDY = """
import json
from tests.search.test_optimizer import LARGE, asked_for, studied
print(json.dumps([list(map(list, key)) for key in asked_for(studied(LARGE, 12, 7))]))
"""


def test_another_process_asks_the_same() -> None:
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [sys.executable, "-c", PRINT_STUDY],
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == json.loads(json.dumps(asked_for(studied(LARGE, 12, 7))))
    assert not told.stderr, "nothing that a user would have to read past"


def test_the_sampler_finds_the_best_of_a_few_hundred_choices() -> None:
    found, _ = candidates(LARGE)
    assert 150 < len(found) < 400
    whole = studied(LARGE, len(found))
    assert len(whole.answers) == len(found)
    best = rank(whole.answers, objectives("cost"))[0]
    for seed in range(2):
        sampled = rank(studied(LARGE, 40, seed).answers, objectives("cost"))[0]
        assert sampled.values[0] <= best.values[0] * 1.02


def test_several_objectives_and_one_to_make_large_are_searched() -> None:
    study = studied(LARGE, 16, 0, "throughput", "ttft:p95")
    assert len(study.answers) == 16
    assert all(len(answer.values) == 2 for answer in study.answers)


def test_progress_counts_up_to_the_trials() -> None:
    seen: list[tuple[int, int]] = []
    found, _ = candidates(LARGE)
    one = evaluator(workload(requests=30), *LIMITS)
    search(
        one,
        found,
        LARGE.dimensions,
        trials=8,
        seed=0,
        sampler="tpe",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (8, 8)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_estimates_favourites_come_first() -> None:
    found, _ = candidates(SMALL)
    one = evaluator(workload(), *LIMITS)
    ordered = by_estimate(one, found)
    assert sorted(map(id, ordered)) == sorted(map(id, found))
    priced = one.estimate(ordered, [c.max_replicas for c in ordered])
    loads = [round(float(load), 3) for load in priced.utilisation]
    assert loads == sorted(loads)
    nothing: list[Candidate] = []
    assert by_estimate(one, nothing) == []
