"""The recommend verb: from a space, a workload and SLOs to a ranked answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servecast.errors import InfeasibleError
from servecast.primitives.calibration import Calibration
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.step_costs import StepCosts
from servecast.search.answers import Answer
from servecast.search.band import Reached, reached
from servecast.search.baseline import (
    Baseline,
    default_candidate,
    evaluate_default,
    fixed_candidate,
)
from servecast.search.evaluator import Evaluator
from servecast.search.ladder import Progress, Rung
from servecast.search.optimizer import Sampler, search
from servecast.search.ranking import distinct, nearest_misses, rank
from servecast.search.space import Candidate, Space, candidates, grouped
from servecast.simulator.objective import SPENT, Objective
from servecast.simulator.slo import Slo
from servecast.traces.workload import Workload

Stage = Callable[[str], None]
"""Called with what begins now, for a progress line."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: where to look, under which traffic, for what."""

    space: Space
    workload: Workload
    slos: Sequence[Slo]
    objectives: Sequence[Objective]
    source: CostSource
    relative_error: float
    """Half-width of the model error's band, as a share of every step."""
    trials: int = 64
    seed: int = 0
    sampler: Sampler = "ladder"
    current: Deployment | None = None
    """What the user runs today, to compare with."""
    current_omits: tuple[str, ...] = ()
    """What the real engine would do under that command, and the simulation leaves out."""
    calibration: Calibration | None = None
    """What `source` was calibrated with; the engine's host time is its own too."""

    @property
    def host(self) -> HostTime | None:
        """The engine's host time, or None for the default."""
        return self.calibration.host if self.calibration else None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The answer, and how it was found."""

    question: Question
    ranked: Sequence[Answer]
    """Distinct deployments that meet every SLO, best first (with several objectives, the front)."""
    misses: Sequence[Answer]
    """The others that were simulated, the nearest miss first."""
    answers: Sequence[Answer]
    reached: Sequence[Reached]
    """What the best (or, if none meets the SLOs, the nearest miss) reaches against each SLO."""
    baselines: Sequence[Baseline]
    choices: int
    """Size of the space before any cut."""
    cut: Counter[str]
    """Why choices were cut before pricing, and how many."""
    priced: int
    simulations: int
    rungs: Sequence[Rung] = ()
    """Of the climb, the estimate first; none where the space was answered otherwise."""

    @property
    def best(self) -> Answer | None:
        """The deployment to take, or None where none meets the SLOs."""
        return self.ranked[0] if self.ranked else None

    @property
    def shown(self) -> Answer:
        """The best, or the nearest miss."""
        return self.best or self.misses[0]


def recommend(
    question: Question, *, progress: Progress | None = None, stage: Stage | None = None
) -> Recommendation:
    """Search the question's space; InfeasibleError where no deployment would even start."""
    say = stage or _say_nothing
    say("pricing every deployment")
    found, cut = candidates(question.space)
    if not found:
        raise _nothing_starts(question.space, cut)
    evaluator = _evaluator(question, found)
    say("simulating the promising")
    study = search(
        evaluator,
        found,
        question.space.dimensions,
        trials=question.trials,
        seed=question.seed,
        sampler=question.sampler,
        progress=progress,
    )
    ranked = distinct(rank(study.answers, question.objectives))
    misses = distinct(nearest_misses(study.answers))
    shown = ranked[0] if ranked else misses[0]
    say("comparing and bounding the error")
    if shown.result is None:
        shown = evaluator.simulated(shown.candidate, shown.deployment.replicas)
        misses = [shown, *misses[1:]]
    return Recommendation(
        question,
        ranked,
        misses,
        study.answers,
        _bands(question, shown),
        _baselines(question, evaluator, shown.deployment),
        question.space.size,
        cut,
        len(found),
        evaluator.simulations,
        study.rungs,
    )


def _say_nothing(stage: str) -> None:
    """For those who show no progress."""


def _evaluator(question: Question, found: Sequence[Candidate]) -> Evaluator:
    deployments = [candidate.deployment for candidate in found]
    default = default_candidate(found[0].deployment, question.space.gpus)
    others = [default.deployment] if default else []
    if question.current is not None:
        others.append(question.current)
    fewest = question.space.auto_replicas and any(o.name in SPENT for o in question.objectives)
    return Evaluator(
        question.workload,
        question.slos,
        question.objectives,
        StepCosts(question.source, [*deployments, *others], question.host),
        fewest_replicas=fewest,
    )


def _bands(question: Question, shown: Answer) -> list[Reached]:
    if shown.result is None:
        return []
    return reached(
        shown.result,
        question.workload,
        question.slos,
        question.source,
        question.relative_error,
        question.host,
    )


def _baselines(question: Question, evaluator: Evaluator, like: Deployment) -> list[Baseline]:
    baselines: list[Baseline] = []
    if question.current is not None:
        candidate = fixed_candidate(question.current, question.space.gpus)
        if candidate is not None:
            answer = evaluator.baseline(candidate)
            baselines.append(Baseline("your command", answer, question.current_omits))
    default = evaluate_default(evaluator, like, question.space.gpus)
    if default is not None:
        baselines.append(default)
    return baselines


def _nothing_starts(space: Space, cut: Counter[str]) -> InfeasibleError:
    lines = [f"none of the {space.size} deployments of the space would start"]
    lines += [f"  {count} × {reason}" for count, reason in grouped(cut)]
    hint = "change in the scenario what these reasons name"
    if any("GiB" in reason for reason in cut):
        hint = "widen tensor_parallel_size, lower max_model_len, or take a larger GPU"
    return InfeasibleError("\n".join(lines), hint=hint)
