"""The climb: the estimate of all points, a short simulation of the promising, a whole one of few.

Each rung answers what it is asked of the rung below, whose error it learns on the way, so that most
points are never looked at: they cannot be the best even where the estimate errs as it does nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.search.answers import Answer
from servecast.search.equals import equals
from servecast.search.evaluator import Evaluator
from servecast.search.points import Points, points_of
from servecast.search.race import Race, logarithms
from servecast.search.space import Candidate
from servecast.traces.reshape import head
from servecast.traces.workload import Workload

Progress = Callable[[int, int], None]
"""Called with looks done and looks at most."""

Floats = NDArray[np.float64]

LONG = 4_000
"""A workload of more requests has a rung of its first part before the whole."""
SHARE, FEWEST = 10, 1_000
"""That part: a tenth, or so many requests."""
ESTIMATE_DOUBT = 0.5
"""Standard deviation of the logarithm of simulated over estimated, before any was seen."""
PART_DOUBT = 0.1
"""The same of the whole over its first part."""
FEW = 4
"""The whole is simulated of so many times fewer points than its first part."""
_STREAM = 0x1ADDE2


@dataclass(frozen=True, slots=True)
class Rung:
    """How far a climb went on one rung."""

    name: str
    points: int
    disagreement: float
    """Typical factor, less 1, between it and the corrected forecast of the rung below."""
    stopped: str


@dataclass(frozen=True, slots=True)
class Climb:
    """What was found, and how."""

    answers: tuple[Answer, ...]
    """Of the last rung, in the order of looking."""
    rungs: tuple[Rung, ...]


def climb(
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    *,
    trials: int,
    seed: int,
    progress: Progress | None = None,
) -> Climb:
    """Look at `trials` points at most on the first rung above the estimate, on the last of two at a
    quarter of them; the same seed looks at the same."""
    points = points_of(evaluator, candidates)
    rng = np.random.default_rng([seed, _STREAM])
    reports = [Rung("estimate", len(points), 0.0, "it prices all")]
    forecast, doubt = points.forecast, np.zeros_like(points.forecast)
    prior = ESTIMATE_DOUBT
    part = first_part(evaluator.workload)
    if part is not None:
        race = _race(evaluator, points, rng, forecast, doubt, prior)
        reports.append(_run(race, evaluator.on(part), points, trials, progress))
        forecast, doubt = _above(race, points)
        prior, trials = PART_DOUBT, -(-trials // FEW)
    race = _race(evaluator, points, rng, forecast, doubt, prior)
    reports.append(_run(race, evaluator, points, trials, progress))
    return Climb(tuple(race.seen.values()), tuple(reports))


def first_part(workload: Workload) -> Workload | None:
    """The requests that the short rung simulates; None where the whole is short enough."""
    if len(workload) <= LONG or workload.sessions is not None:
        return None
    return head(workload, max(FEWEST, len(workload) // SHARE))


def _race(
    evaluator: Evaluator,
    points: Points,
    rng: np.random.Generator,
    forecast: Floats,
    doubt: Floats,
    prior: float,
) -> Race:
    objectives, slos = evaluator.objectives, evaluator.slos
    return Race(points, objectives, slos, rng, forecast=forecast, doubt=doubt, prior=prior)


def _run(
    race: Race, evaluator: Evaluator, points: Points, trials: int, progress: Progress | None
) -> Rung:
    """Look until nothing is worth it, or `trials` times."""
    off: list[float] = []
    name = f"simulate {len(evaluator.workload):,} requests"
    while len(race.seen) < trials:
        row = race.next()
        if row is None:
            break
        expected, _ = race.corrected(np.array([row]))
        answer = evaluator.simulated(points.candidate_at(row), int(points.replicas[row]))
        off += np.abs(logarithms(answer, evaluator.slos) - expected[0]).tolist()
        race.learn(row, answer)
        if answer.result is not None:
            race.spare(equals(points, row, answer.result))
        if progress is not None:
            progress(len(race.seen), trials)
    return Rung(name, len(race.seen), _typical(off), race.stopped or "as many as were asked for")


def _typical(logs: Sequence[float]) -> float:
    known = [value for value in logs if value == value]
    return float(np.expm1(np.median(known))) if known else 0.0


def _above(race: Race, points: Points) -> tuple[Floats, Floats]:
    """What the next rung expects: what this one found, or else its corrected forecast."""
    every = np.arange(len(points))
    parts = [race.corrected(part) for part in np.array_split(every, len(every) // 20_000 + 1)]
    forecast, doubt = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    for row, answer in race.seen.items():
        found = logarithms(answer, race.slos)
        known = np.isfinite(found)
        forecast[row, known], doubt[row, known] = found[known], 0.0
    return forecast, doubt
