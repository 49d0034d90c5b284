"""The whole search: one best deployment or a front, and an honest answer where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servecast.errors import InfeasibleError
from servecast.primitives.dtype import Dtype
from servecast.search.recommend import Recommendation, recommend
from servecast.search.space import Space
from servecast.traces.reshape import closed_loop
from tests.search_cases import BASE, question, space, workload
from tests.toy_deployments import DEVICE

LIMITS = ("ttft:p95 < 800ms", "tpot:p95 < 60ms")
KNOWN = replace(BASE, accelerator=replace(DEVICE, name="h100_toy", vendor="NVIDIA"))
TRAFFIC = workload(requests=200, rate=9)
SPACE = space(KNOWN, tensor_parallel_size=[1, 2, 4], max_num_seqs=[4, 64])


@pytest.fixture(scope="module")
def found() -> Recommendation:
    return recommend(question(SPACE, TRAFFIC, *LIMITS))


def test_the_best_meets_every_slo_at_the_lowest_cost(found: Recommendation) -> None:
    assert found.best is not None
    assert found.best.is_feasible
    feasible = [a for a in found.answers if a.is_feasible]
    assert found.best.values[0] <= min(a.values[0] for a in feasible) * 1.01
    assert found.shown is found.best


def test_each_slo_comes_with_its_band(found: Recommendation) -> None:
    assert [band.slo for band in found.reached] == list(found.question.slos)
    assert all(band.is_met and band.low <= band.value <= band.high for band in found.reached)


def test_the_answer_counts_what_it_did(found: Recommendation) -> None:
    assert found.choices == 6
    assert found.priced + sum(found.cut.values()) == found.choices
    assert len(found.answers) == found.priced
    assert found.simulations >= len([a for a in found.answers if a.result is not None])


def test_the_gain_is_against_the_engines_defaults(found: Recommendation) -> None:
    (baseline,) = found.baselines
    assert baseline.name == "vllm defaults"
    assert baseline.answer.deployment.max_num_seqs == 1024


def test_runners_up_are_other_deployments(found: Recommendation) -> None:
    shown = [(a.deployment, a.values) for a in found.ranked]
    assert len({repr(one) for one in shown}) == len(shown)
    assert all(a.is_feasible for a in found.ranked)


def test_the_same_question_has_the_same_answer(found: Recommendation) -> None:
    again = recommend(question(SPACE, TRAFFIC, *LIMITS))
    assert [a.deployment for a in again.ranked] == [a.deployment for a in found.ranked]
    assert [a.values for a in again.answers] == [a.values for a in found.answers]
    assert again.reached == found.reached


def test_several_objectives_give_the_front() -> None:
    objective = ("throughput", "ttft:p95")
    front = recommend(question(SPACE, TRAFFIC, *LIMITS, objective=objective)).ranked
    assert front
    for one in front:
        for other in front:
            dominates = other.values[0] >= one.values[0] and other.values[1] <= one.values[1]
            assert not (dominates and other.values != one.values)


def test_without_a_price_the_budget_is_used_up() -> None:
    best = recommend(question(SPACE, TRAFFIC, *LIMITS, objective=("ttft:p95",))).best
    assert best is not None
    assert best.deployment.gpus == 4


def test_stated_replicas_are_what_is_recommended() -> None:
    fixed = space(KNOWN, gpus=4, auto_replicas=False, replicas=[2], max_num_seqs=[16, 64])
    best = recommend(question(fixed, TRAFFIC, *LIMITS)).best
    assert best is not None
    assert best.deployment.replicas == 2


def test_what_runs_today_is_compared_by_the_same_rule() -> None:
    current = replace(KNOWN, tensor_parallel_size=4, max_num_seqs=8)
    answer = recommend(question(SPACE, TRAFFIC, *LIMITS, current=current))
    mine, default = answer.baselines
    assert (mine.name, default.name) == ("your command", "vllm defaults")
    assert mine.answer.deployment.max_num_seqs == 8
    assert mine.answer.deployment.tensor_parallel_size == 4
    assert mine.answer.deployment.replicas == 1


def test_what_runs_today_may_have_limits_that_the_space_has_not() -> None:
    current = replace(KNOWN, max_num_seqs=256, max_num_batched_tokens=2048, block_size=32)
    answer = recommend(question(SPACE, TRAFFIC, *LIMITS, current=current))
    assert answer.baselines[0].answer.deployment.max_num_seqs == 256


FORMATS = [Dtype.BF16, Dtype.FP8]


@pytest.mark.parametrize(
    "both",
    [
        space(KNOWN, kv_cache_dtype=FORMATS, tensor_parallel_size=[2]),
        space(KNOWN, weights_dtype=FORMATS, tensor_parallel_size=[2]),
    ],
)
def test_the_defaults_follow_the_format_that_won(both: Space) -> None:
    """The best may have a format or a rank that the first choice of the space has not."""
    answer = recommend(question(both, TRAFFIC, *LIMITS))
    best, default = answer.shown.deployment, answer.baselines[0].answer.deployment
    assert default.weights_dtype == best.weights_dtype
    assert default.kv_cache_dtype == best.kv_cache_dtype


def missing(*limits: str, rate: float = 9) -> Recommendation:
    return recommend(question(SPACE, workload(requests=200, rate=rate), *limits))


def test_an_slo_that_nothing_meets_leaves_the_nearest_miss() -> None:
    answer = missing("tpot:p95 < 1ms")
    assert answer.best is None
    assert answer.ranked == []
    assert answer.shown.result is not None, "the nearest miss is simulated, not guessed"
    estimated = min(a.worst for a in answer.answers)
    assert answer.shown.worst == pytest.approx(estimated, rel=0.1)
    assert not answer.reached[0].is_met


def test_a_miss_by_simulation_is_nearer_than_the_others() -> None:
    answer = missing("e2e:p95 < 100ms", rate=20)
    assert answer.best is None
    simulated = [a.worst for a in answer.answers if a.result is not None]
    assert answer.shown.worst <= min(simulated, default=answer.shown.worst)


def test_an_overload_is_told_as_one() -> None:
    answer = missing(*LIMITS, rate=900)
    assert answer.best is None
    assert answer.shown.result is not None
    assert answer.shown.result.is_overloaded
    assert answer.shown.deployment.gpus == 4


def test_a_space_of_which_nothing_starts_says_why() -> None:
    tight = space(gpu_memory_utilization=[0.01, 0.02], max_num_seqs=[8, 64])
    with pytest.raises(InfeasibleError) as told:
        recommend(question(tight, TRAFFIC, *LIMITS))
    assert "none of the 4 deployments" in told.value.message
    assert "weights need" in told.value.message
    assert "GiB" in told.value.message
    assert told.value.hint
    assert told.value.exit_code == 3


def test_a_closed_loop_is_recommended_for() -> None:
    answer = recommend(question(SPACE, closed_loop(workload(requests=80), 12), *LIMITS))
    assert answer.best is not None


def test_without_slos_the_cheapest_that_is_not_overloaded_wins() -> None:
    answer = recommend(question(SPACE, TRAFFIC))
    assert answer.best is not None
    assert answer.reached == []


@pytest.mark.parametrize("trials", [1, 3])
def test_few_trials_on_a_large_space_still_answer(trials: int) -> None:
    wide: Space = space(KNOWN, max_num_seqs=list(range(4, 40)), tensor_parallel_size=[1, 2])
    answer = recommend(question(wide, TRAFFIC, *LIMITS, trials=trials))
    assert len(answer.answers) == trials
    assert answer.shown.result is not None


def test_progress_and_stages_are_told() -> None:
    stages: list[str] = []
    steps: list[int] = []
    recommend(
        question(SPACE, TRAFFIC, *LIMITS),
        progress=lambda done, _: steps.append(done),
        stage=stages.append,
    )
    assert len(stages) == 3
    assert steps == list(range(1, 7))
