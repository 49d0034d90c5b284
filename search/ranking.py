"""Which answers are best: one order for one objective, the Pareto front for several."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, inf, isfinite, log

from servecast.search.answers import TIE, Answer
from servecast.simulator.objective import Objective


def rank(answers: Sequence[Answer], objectives: Sequence[Objective]) -> list[Answer]:
    """Feasible answers, best first; of several objectives only the Pareto front, knee first.

    Of answers that are equal in everything the smaller limits come first: they promise no more than
    was seen.
    """
    feasible = [answer for answer in answers if answer.is_feasible]
    if len(objectives) == 1:
        return sorted(feasible, key=lambda answer: _order(answer, objectives[0]))
    front = pareto(feasible, objectives)
    return sorted(front, key=lambda answer: _distance_to_ideal(answer, front, objectives))


def nearest_misses(answers: Sequence[Answer]) -> list[Answer]:
    """Simulated answers that miss an SLO, the nearest first; estimates if there is no other."""
    simulated = [answer for answer in answers if answer.result is not None]
    missed = [a for a in simulated or answers if not a.is_feasible]
    return sorted(missed, key=lambda answer: (answer.worst, answer.deployment.gpus))


def pareto(answers: Sequence[Answer], objectives: Sequence[Objective]) -> list[Answer]:
    """The answers that no other is better than in one objective and as good in the rest."""
    costs = {id(answer): _costs(answer, objectives) for answer in answers}

    def is_dominated(answer: Answer) -> bool:
        mine = costs[id(answer)]
        return any(
            all(a <= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
            for theirs in costs.values()
        )

    return [answer for answer in answers if not is_dominated(answer)]


def distinct(ranked: Sequence[Answer]) -> list[Answer]:
    """Ranked answers without those that do what an earlier one does: same values, same slack.

    They differ by limits that the traffic never reaches.
    """
    seen: dict[object, Answer] = {}
    for answer in ranked:
        d = answer.deployment
        key = (d.tensor_parallel_size, d.replicas, answer.values, answer.violations)
        seen.setdefault(key, answer)
    return list(seen.values())


def _order(answer: Answer, objective: Objective) -> tuple[float, ...]:
    cost = _costs(answer, [objective])[0]
    d = answer.deployment
    return (_bin(cost), answer.worst, cost, d.max_num_seqs, d.max_num_batched_tokens)


def _bin(cost: float) -> float:
    """Which tie a cost belongs to; what is not a number comes after all."""
    if not isfinite(cost):
        return inf
    return floor(log(abs(cost)) / TIE) * (1.0 if cost > 0 else -1.0) if cost else 0.0


def _costs(answer: Answer, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The objectives, all to be made small."""
    return tuple(
        value if objective.direction == "minimise" else -value
        for value, objective in zip(answer.values, objectives, strict=True)
    )


def _distance_to_ideal(
    answer: Answer, front: Sequence[Answer], objectives: Sequence[Objective]
) -> float:
    """How far from the best of every objective at once, each scaled to the front's range."""
    columns = list(zip(*(_costs(a, objectives) for a in front), strict=True))
    total = 0.0
    for value, column in zip(_costs(answer, objectives), columns, strict=True):
        known = [v for v in column if isfinite(v)]
        spread = (max(known) - min(known)) if known else 0.0
        if not isfinite(value):
            return inf
        total += ((value - min(known)) / spread) ** 2 if spread else 0.0
    return total
