"""The search: a climb over all points, or Optuna's TPE over the feasible choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from servecast.search.answers import UNDEFINED, Answer
from servecast.search.evaluator import Evaluator
from servecast.search.ladder import Progress, Rung, climb
from servecast.search.space import Candidate, Value, key_of
from servecast.simulator.objective import Direction

if TYPE_CHECKING:
    import optuna

_DIRECTIONS: dict[Direction, Literal["minimize", "maximize"]] = {
    "minimise": "minimize",
    "maximise": "maximize",
}

WORST = 1e12
"""Stands for an undefined objective, which Optuna would refuse."""


Sampler = Literal["ladder", "tpe"]
"""Who says what is looked at next."""
WHOLE = 8
"""A space of no more choices is not climbed, but answered whole."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a search tried, in the order of asking."""

    answers: tuple[Answer, ...]
    trials: int
    rungs: tuple[Rung, ...] = ()
    """Of a climb, the estimate first."""


def search(
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    dimensions: Mapping[str, tuple[Value, ...]],
    *,
    trials: int,
    seed: int,
    sampler: Sampler = "ladder",
    progress: Progress | None = None,
) -> Study:
    """Look at `trials` points at most on each rung; the same seed looks at the same.

    What is hardly worth a climb, or no larger than TPE's trials, is answered whole, in the
    estimate's order. TPE knows choices alone, each answered at its best number of replicas;
    infeasible combinations that it draws are told as such, free of charge.
    """
    if len(candidates) > min(trials, WHOLE) and sampler == "ladder":
        found = climb(evaluator, candidates, trials=trials, seed=seed, progress=progress)
        return Study(found.answers, len(found.answers), found.rungs)
    ranked = by_estimate(evaluator, candidates)
    if len(ranked) <= trials:
        answers: list[Answer] = []
        for done, candidate in enumerate(ranked):
            answers.append(evaluator.answer(candidate))
            if progress is not None:
                progress(done + 1, len(ranked))
        return Study(tuple(answers), len(ranked))
    return _tpe(evaluator, ranked, dimensions, trials, seed, progress)


def by_estimate(evaluator: Evaluator, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates with the estimate's favourites first: least load a GPU bears last, then order.

    Every candidate is priced, at the number of replicas that the whole budget holds.
    """
    if not candidates:
        return []
    priced = evaluator.estimate(candidates, [c.max_replicas for c in candidates])
    return [
        candidates[row]
        for row in sorted(
            range(len(candidates)),
            key=lambda row: (round(float(priced.utilisation[row]), 3), priced.tpot_p95[row], row),
        )
    ]


def _tpe(
    evaluator: Evaluator,
    ranked: Sequence[Candidate],
    dimensions: Mapping[str, tuple[Value, ...]],
    trials: int,
    seed: int,
    progress: Progress | None,
) -> Study:
    by_key = {key_of(candidate.choice): candidate for candidate in ranked}
    study = _study(evaluator, trials, seed)
    for candidate in ranked[: max(4, trials // 4)]:
        study.enqueue_trial(dict(candidate.choice))
    answers: dict[object, Answer] = {}
    asked = 0
    while len(answers) < trials and asked < 4 * trials:
        asked += 1
        trial = study.ask()
        key = key_of(_suggestion(trial, dimensions))
        if key not in by_key:
            _constrain(trial, [UNDEFINED] * len(evaluator.slos))
            study.tell(trial, [_worst(o.direction) for o in evaluator.objectives])
            continue
        answer = answers[key] = evaluator.answer(by_key[key])
        _constrain(trial, answer.violations)
        told = zip(answer.values, evaluator.objectives, strict=True)
        study.tell(trial, [_finite(value, objective.direction) for value, objective in told])
        if progress is not None:
            progress(len(answers), trials)
    return Study(tuple(answers.values()), asked)


def _study(evaluator: Evaluator, trials: int, seed: int) -> optuna.Study:
    """An in-memory study whose sampler knows SLOs as constraints, not as penalties."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, trials // 4))
    return optuna.create_study(
        directions=[_DIRECTIONS[objective.direction] for objective in evaluator.objectives],
        sampler=sampler,
    )


def _constrain(trial: optuna.Trial, violations: Sequence[float]) -> None:
    for index, missed in enumerate(violations):
        trial.set_constraint(f"slo {index}", missed)


def _suggestion(
    trial: optuna.Trial, dimensions: Mapping[str, tuple[Value, ...]]
) -> dict[str, Value]:
    choice: dict[str, Value] = {}
    for name, values in dimensions.items():
        chosen = trial.suggest_categorical(name, values)
        choice[name] = next(value for value in values if value == chosen)
    return choice


def _worst(direction: Direction) -> float:
    return WORST if direction == "minimise" else -WORST


def _finite(value: float, direction: Direction) -> float:
    return value if abs(value) < WORST else _worst(direction)
