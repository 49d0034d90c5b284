"""How near `recommend` comes to the true optimum of spaces that are simulated whole.

Every point of a scenario's space is simulated, as the evaluator would at its best number of
replicas; then the search, random search and plain TPE each get 5 % of that many simulations.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search_scenarios import SCENARIOS
from servecast.loading import loads
from servecast.primitives.step_costs import StepCosts
from servecast.question import question
from servecast.search.evaluator import Evaluator
from servecast.search.recommend import Question
from servecast.search.space import Candidate, candidates, key_of
from servecast.simulator.objective import SPENT

Known = dict[object, tuple[bool, tuple[float, ...], int]]
"""Of each choice: whether it meets the SLOs, its objectives, simulations that it took."""


def whole(asked: Question, found: Sequence[Candidate]) -> Known:
    """Every point simulated."""
    fewest = asked.space.auto_replicas and any(o.name in SPENT for o in asked.objectives)
    costs = StepCosts(asked.source, [candidate.deployment for candidate in found], asked.host)
    evaluator = Evaluator(
        asked.workload, asked.slos, asked.objectives, costs, fewest_replicas=fewest
    )
    known: Known = {}
    for candidate in found:
        before = evaluator.simulations
        answer = evaluator.baseline(candidate)
        taken = evaluator.simulations - before
        known[key_of(candidate.choice)] = (
            answer.is_feasible,
            answer.values,
            taken,
            answer.violations,
            answer.deployment.replicas,
        )
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("names", nargs="*", default=list(SCENARIOS))
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        asked = question(loads(SCENARIOS[name]), trials=64)
        found, _ = candidates(asked.space)
        begin = time.process_time()
        known = whole(asked, found)
        (arguments.cache / f"{name}.pickle").write_bytes(pickle.dumps(known))
        good = [each[1][0] for each in known.values() if each[0]]
        taken = sum(each[2] for each in known.values())
        print(name, len(found), "feasible", len(good), "simulations", taken,
              f"{time.process_time() - begin:.0f} s", min(good, default=None), max(good, default=None), flush=True)


if __name__ == "__main__":
    main()
