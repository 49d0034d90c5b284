"""How near `recommend` comes to the true optimum of spaces that are simulated whole.

Every point of a scenario's space is simulated, at its best number of replicas. The climb, plain TPE
and random search then each get as many looks as 5 % of the points. A gap is the share by which the
objective of the best deployment found is worse than the optimum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np

from benchmarks.search_scenarios import SCENARIOS
from benchmarks.table import Row, show, write
from servecast.loading import loads
from servecast.primitives.step_costs import StepCosts
from servecast.question import question
from servecast.search.answers import Answer
from servecast.search.evaluator import Evaluator
from servecast.search.optimizer import search
from servecast.search.ranking import rank
from servecast.search.recommend import Question
from servecast.search.space import Candidate, candidates
from servecast.simulator.objective import SPENT

SHARE = 0.05
"""Of a space's points, how many are looked at."""


@dataclass(frozen=True, slots=True)
class Exam:
    """A space whose every answer is known."""

    asked: Question
    found: Sequence[Candidate]
    answers: Sequence[Answer]
    simulations: int

    def signed(self, answer: Answer) -> float:
        """The first objective, to be made small."""
        minimise = self.asked.objectives[0].direction == "minimise"
        return answer.values[0] if minimise else -answer.values[0]

    @property
    def optimum(self) -> float:
        """The best of all that meet the SLOs."""
        return min(self.signed(answer) for answer in self.answers if answer.is_feasible)

    def gap(self, answers: Sequence[Answer]) -> float:
        """By what share of the optimum the answer that ranks first is worse than it."""
        ranked = rank(answers, self.asked.objectives)
        best = self.optimum
        return (self.signed(ranked[0]) - best) / abs(best) if ranked else inf

    def evaluator(self) -> Evaluator:
        """One that has answered nothing."""
        return evaluator_of(self.asked, self.found)


def evaluator_of(asked: Question, found: Sequence[Candidate]) -> Evaluator:
    """What answers the question's points, as `recommend` has it."""
    fewest = asked.space.auto_replicas and any(o.name in SPENT for o in asked.objectives)
    costs = StepCosts(asked.source, [candidate.deployment for candidate in found], asked.host)
    return Evaluator(asked.workload, asked.slos, asked.objectives, costs, fewest_replicas=fewest)


def exam(text: str) -> Exam:
    """A scenario with its space simulated whole."""
    asked = question(loads(text), trials=1)
    found, _ = candidates(asked.space)
    evaluator = evaluator_of(asked, found)
    answers = [evaluator.baseline(candidate) for candidate in found]
    return Exam(asked, found, answers, evaluator.simulations)


def row(name: str, text: str) -> Row:
    """A scenario's gaps, in percent."""
    one = exam(text)
    evaluator, begin = one.evaluator(), time.process_time()
    dimensions, looks = one.asked.space.dimensions, int(SHARE * len(one.found))
    climbed = search(evaluator, one.found, dimensions, trials=looks, seed=0)
    spent_s = time.process_time() - begin
    other = one.evaluator()
    sampled = search(other, one.found, dimensions, trials=looks, seed=0, sampler="tpe")
    drawn = np.random.default_rng(0).permutation(len(one.found))[:looks]
    return {
        "scenario": name,
        "points": len(one.found),
        "meet the SLOs": sum(answer.is_feasible for answer in one.answers),
        "simulations of all": one.simulations,
        "of the climb": evaluator.simulations,
        "share %": 100 * evaluator.simulations / one.simulations,
        "climb's gap %": 100 * one.gap(climbed.answers),
        "TPE's gap %": 100 * one.gap(sampled.answers),
        "TPE's simulations": other.simulations,
        "random's gap %": 100 * one.gap([one.answers[int(each)] for each in drawn]),
        "climb's CPU s": spent_s,
    }


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(SCENARIOS), help="scenarios; all")
    parser.add_argument("--out", type=Path, help="write the table as .json or .csv")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name in arguments.names:
        rows.append(row(name, SCENARIOS[name]))
        print(rows[-1], flush=True)
    show("Looks at few points beside the optimum of all", rows)
    if arguments.out is not None:
        write(arguments.out, {"optimum": rows})


if __name__ == "__main__":
    main()
