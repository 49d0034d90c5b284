"""The search: Optuna's TPE over the feasible choices, the estimate's favourites first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from servecast.search.evaluator import Answer, Evaluator
from servecast.search.space import Candidate, Value, key_of

Progress = Callable[[int, int], None]
"""Called with trials done and trials in all."""

_DIRECTIONS = {"minimise": "minimize", "maximise": "maximize"}

WORST = 1e12
"""Stands for an undefined objective, which Optuna would refuse."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a search tried: one answer for each distinct choice, in order of first asking."""

    answers: tuple[Answer, ...]
    trials: int


def search(
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    dimensions: Mapping[str, tuple[Value, ...]],
    *,
    trials: int,
    seed: int,
    progress: Progress | None = None,
) -> Study:
    """Ask TPE for `trials` choices at most and answer each; the same seed asks the same.

    A space no larger than `trials` is answered whole, in the estimate's order, for nothing is
    left to guess. Infeasible combinations that the sampler draws are told as such, free of charge.
    """
    ranked = by_estimate(evaluator, candidates)
    if len(ranked) <= trials:
        answers = []
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
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    by_key = {key_of(candidate.choice): candidate for candidate in ranked}
    study = optuna.create_study(
        directions=[_DIRECTIONS[o.direction] for o in evaluator.objectives],
        sampler=optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=min(10, trials // 4),
            constraints_func=lambda trial: trial.user_attrs["violations"],
        ),
    )
    for candidate in ranked[: max(4, trials // 4)]:
        study.enqueue_trial(dict(candidate.choice))
    answers: dict[object, Answer] = {}
    for _ in range(4 * trials):
        trial = study.ask()
        choice = {
            name: trial.suggest_categorical(name, values) for name, values in dimensions.items()
        }
        candidate = by_key.get(key_of(choice))
        if candidate is None:
            trial.set_user_attr("violations", [1e6] * max(1, len(evaluator.slos)))
            study.tell(trial, [_worst(o.direction) for o in evaluator.objectives])
            continue
        answer = answers[key_of(choice)] = evaluator.answer(candidate)
        trial.set_user_attr("violations", list(answer.violations) or [0.0])
        study.tell(trial, [_finite(v) for v in answer.values])
        if progress is not None:
            progress(len(answers), trials)
        if len(answers) == min(trials, len(ranked)):
            break
    return Study(tuple(answers.values()), len(study.trials))


def _worst(direction: str) -> float:
    return WORST if direction == "minimise" else -WORST


def _finite(value: float) -> float:
    return value if abs(value) < WORST else WORST
