"""Answers for one deployment after another, each by the cheapest rung that can give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from math import inf

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.deployment import Deployment
from servecast.primitives.step_costs import StepCosts, step_cost_key
from servecast.search.answers import TIE, UNDEFINED, Answer, violation
from servecast.search.estimate import Estimate, Limits, estimate
from servecast.search.estimated import floors, objective_value, price_per_million, slo_value
from servecast.search.space import Candidate, key_of
from servecast.search.traffic import Traffic
from servecast.simulator.objective import PRICES, Objective
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo
from servecast.traces.workload import Workload

HOPELESS_UTILISATION = 1.25
"""Offered over bearable rate above which the estimate alone calls a deployment overloaded."""

FLOOR_TRUST = 0.8
"""A latency floor times this must exceed the SLO before the estimate alone rules a point out."""


class Evaluator:
    """Prices candidates under one workload; remembers what it has answered."""

    def __init__(
        self,
        workload: Workload,
        slos: Sequence[Slo],
        objectives: Sequence[Objective],
        costs: StepCosts,
        *,
        fewest_replicas: bool,
    ) -> None:
        """`fewest_replicas`: as few as meet the SLOs; otherwise as many as the budget holds."""
        self.workload = workload
        self.slos = slos
        self.objectives = objectives
        self.costs = costs
        self.simulations = 0
        self._fewest = fewest_replicas
        self._best_price = inf
        self._bounds_price = fewest_replicas and _price_alone(objectives, workload)
        self._answers: dict[object, Answer] = {}
        self._traffic: dict[tuple[int, bool], Traffic] = {}

    def traffic(self, deployment: Deployment) -> Traffic:
        """The workload's statistics at a deployment's model length, and with its prefix cache."""
        key = (deployment.max_model_len, deployment.enable_prefix_caching)
        if key not in self._traffic:
            length, caching = key
            found = Traffic.of(self.workload, length, enable_prefix_caching=caching)
            self._traffic[key] = found
        return self._traffic[key]

    def estimate(self, candidates: Sequence[Candidate], replicas: Sequence[int]) -> Estimate:
        """The estimate of each candidate at its number of replicas, group by group."""
        self.costs.make_room(candidate.deployment for candidate in candidates)
        groups: dict[object, list[int]] = {}
        for row, candidate in enumerate(candidates):
            d = candidate.deployment
            traffic_key = (d.max_model_len, d.enable_prefix_caching)
            key = (step_cost_key(d), d.max_num_batched_tokens, traffic_key)
            groups.setdefault(key, []).append(row)
        names = [field.name for field in fields(Estimate)]
        columns = np.empty((len(names), len(candidates)))
        for rows in groups.values():
            first = candidates[rows[0]].deployment
            traffic = self.traffic(first)
            limits = _limits(
                [candidates[row] for row in rows],
                [replicas[row] for row in rows],
                round(traffic.context_mean),
            )
            cost = self.costs.of(first)
            priced = estimate(cost, first.max_num_batched_tokens, traffic, limits)
            for index, name in enumerate(names):
                columns[index, rows] = getattr(priced, name)
        return Estimate(*columns)

    def replica_counts(self, candidate: Candidate) -> list[int]:
        """The numbers of replicas that may be the best one: all, or what the budget holds."""
        most = candidate.max_replicas
        return list(range(1, most + 1)) if self._fewest else [most]

    def hopeless(self, rows: Sequence[Candidate], priced: Estimate) -> NDArray[np.bool_]:
        """Which of them the estimate alone rules out: overloaded, or too slow without any load."""
        out = np.zeros(len(rows), dtype=np.bool_)
        if not self.slos:
            return out
        if not self.workload.concurrency:
            out |= priced.utilisation > HOPELESS_UTILISATION
        for slo in self.slos:
            least = floors(priced, slo)
            if least is not None:
                out |= least * FLOOR_TRUST > slo.threshold
        drafts = np.array([row.deployment.num_drafts > 0 for row in rows], dtype=np.bool_)
        return np.asarray(out & ~drafts)

    def on(self, workload: Workload) -> Evaluator:
        """The same question about other requests; what is compiled is shared."""
        return Evaluator(
            workload, self.slos, self.objectives, self.costs, fewest_replicas=self._fewest
        )

    def answer(self, candidate: Candidate) -> Answer:
        """The answer for a candidate: by the estimate if it is hopeless, else by simulation."""
        key = key_of(candidate.choice)
        if key not in self._answers:
            self._answers[key] = self._answer(candidate)
        return self._answers[key]

    def baseline(self, candidate: Candidate) -> Answer:
        """A candidate's answer by simulation alone, whatever was found before."""
        return self._fewest_that_meet(candidate, self.replica_counts(candidate))

    def simulated(self, candidate: Candidate, replicas: int) -> Answer:
        """The simulation's answer at a number of replicas."""
        deployment = candidate.with_replicas(replicas)
        cost = self.costs.with_drafts(deployment)
        result = simulate(deployment, self.workload, cost=cost, memory=candidate.memory)
        self.simulations += 1
        return self.judged(candidate, result)

    def judged(self, candidate: Candidate, result: Result) -> Answer:
        """A result against the SLOs and objectives."""
        values = tuple(result.objective(o, self.slos) for o in self.objectives)
        violations = tuple(violation(slo, result.reached(slo, self.slos)) for slo in self.slos)
        return Answer(candidate, result.deployment, "simulate", values, violations, result)

    def _answer(self, candidate: Candidate) -> Answer:
        counts = self.replica_counts(candidate)
        priced = self.estimate([candidate] * len(counts), counts)
        drafts = candidate.deployment.num_drafts > 0  # beyond the estimate's token a step
        hopeful = [
            row for row in range(len(counts)) if drafts or self._hopeless(priced, row) is None
        ]
        if not hopeful:
            return self._ruled_out(candidate, priced, len(counts) - 1, counts[-1])
        bound = self._best_price * (1 + TIE)
        affordable = [
            counts[row] for row in hopeful if self._least_price(candidate, counts[row]) <= bound
        ]
        if not affordable:
            row = hopeful[0]
            gpus = counts[row] * candidate.deployment.gpus_per_replica
            reason = f"costs more on {gpus} GPUs than the best found"
            return self._ruled_out(candidate, priced, row, counts[row], reason)
        answer = self._fewest_that_meet(candidate, affordable)
        if answer.is_feasible and self._bounds_price:
            self._best_price = min(self._best_price, answer.values[0])
        return answer

    def _least_price(self, candidate: Candidate, replicas: int) -> float:
        """The price if all tokens were out when the last request arrives: no answer is cheaper."""
        if not self._bounds_price:
            return 0.0
        offered = self.traffic(candidate.deployment).output_rate
        return price_per_million(self.objectives[0], candidate.with_replicas(replicas), offered)

    def _fewest_that_meet(self, candidate: Candidate, counts: list[int]) -> Answer:
        """The first number of replicas whose simulation is feasible, or the last one's answer.

        More replicas never serve worse, so a bisection finds it.
        """
        low, high = 0, len(counts) - 1
        best = self.simulated(candidate, counts[high])
        if not best.is_feasible:
            return best
        while low < high:
            middle = (low + high) // 2
            tried = self.simulated(candidate, counts[middle])
            if tried.is_feasible:
                best, high = tried, middle
            else:
                low = middle + 1
        return best

    def _hopeless(self, priced: Estimate, row: int) -> str | None:
        """Why the estimate alone rules a deployment out, or None where it may meet the SLOs."""
        if not self.slos:
            return None
        utilisation = float(priced.utilisation[row])
        if not self.workload.concurrency and utilisation > HOPELESS_UTILISATION:
            return f"overloaded: offered {utilisation:.1f} times what it bears"
        for slo in self.slos:
            least = floors(priced, slo)
            if least is not None and least[row] * FLOOR_TRUST > slo.threshold:
                return f"{slo.metric} is {least[row] * 1e3:.0f} ms even without load ({slo})"
        return None

    def _ruled_out(
        self,
        candidate: Candidate,
        priced: Estimate,
        row: int,
        replicas: int,
        reason: str | None = None,
    ) -> Answer:
        deployment = candidate.with_replicas(replicas)
        utilisation = float(priced.utilisation[row])
        worst = tuple(violation(slo, slo_value(priced, row, slo)) for slo in self.slos)
        missed = max(utilisation - 1.0, 0.01)
        return Answer(
            candidate,
            deployment,
            "estimate",
            tuple(objective_value(priced, row, o, deployment) for o in self.objectives),
            tuple(missed if value >= UNDEFINED else max(value, missed) for value in worst),
            None,
            reason or self._hopeless(priced, row) or "",
        )


def _price_alone(objectives: Sequence[Objective], workload: Workload) -> bool:
    """Whether more GPUs can only cost more: one price, and a rate that every answer serves."""
    names = {objective.name for objective in objectives}
    return workload.concurrency is None and len(names) == 1 and names <= set(PRICES)


def _kv_tokens(candidate: Candidate, request_tokens: int) -> int:
    blocks = candidate.memory.equivalent_blocks(request_tokens)
    return blocks * candidate.deployment.block_size


def _limits(
    candidates: Sequence[Candidate], replicas: Sequence[int], request_tokens: int
) -> Limits:
    return Limits(
        max_num_seqs=np.array([c.deployment.max_num_seqs for c in candidates]),
        kv_tokens=np.array([_kv_tokens(c, request_tokens) for c in candidates]),
        replicas=np.array(replicas),
    )
