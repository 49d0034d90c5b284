"""Answers for one deployment after another, each by the cheapest rung that can give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf, isfinite
from typing import Literal

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.search.estimate import Estimate, Limits, Traffic, estimate
from servecast.search.space import Candidate, key_of
from servecast.search.step_costs import StepCosts, step_cost_key
from servecast.simulator.objective import PRICES, Objective
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo
from servecast.traces.workload import Workload

Rung = Literal["estimate", "simulate"]

HOPELESS_UTILISATION = 1.25
"""Offered over bearable rate above which the estimate alone calls a deployment overloaded."""

TIE = 0.01
"""Objectives within this share of each other are a tie, decided by the slack to the SLOs."""

UNDEFINED = 1e6
"""The violation of an SLO on something infinite or not defined."""

FLOOR_TRUST = 0.8
"""A latency floor times this must exceed the SLO before the estimate alone rules a point out."""


@dataclass(frozen=True)
class Answer:
    """What is known of a candidate at its best number of replicas."""

    candidate: Candidate
    deployment: Deployment
    rung: Rung
    values: tuple[float, ...]
    """The objectives, in the scenario's order."""
    violations: tuple[float, ...]
    """For each SLO, by what share of its threshold it is missed; 0 or less where it is met."""
    result: Result | None
    reason: str = ""
    """Why the estimate ruled it out, where it did."""

    @property
    def is_feasible(self) -> bool:
        """Whether the simulation met every SLO without overload."""
        return (
            self.result is not None
            and not self.result.is_overloaded
            and all(violation <= 0 for violation in self.violations)
        )

    @property
    def worst(self) -> float:
        """The largest violation (negative: the smallest slack)."""
        return max(self.violations, default=-inf)


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
        self._traffic: dict[int, Traffic] = {}

    def traffic(self, max_model_len: int) -> Traffic:
        """The workload's statistics at a model length."""
        if max_model_len not in self._traffic:
            self._traffic[max_model_len] = Traffic.of(self.workload, max_model_len)
        return self._traffic[max_model_len]

    def estimate(self, candidates: Sequence[Candidate], replicas: Sequence[int]) -> Estimate:
        """The estimate of each candidate at its number of replicas, group by group."""
        groups: dict[object, list[int]] = {}
        for row, candidate in enumerate(candidates):
            d = candidate.deployment
            key = (step_cost_key(d), d.max_num_batched_tokens, d.max_model_len)
            groups.setdefault(key, []).append(row)
        names = [field.name for field in fields(Estimate)]
        columns = np.empty((len(names), len(candidates)))
        for rows in groups.values():
            first = candidates[rows[0]].deployment
            traffic = self.traffic(first.max_model_len)
            limits = _limits(
                [candidates[row] for row in rows],
                [replicas[row] for row in rows],
                round(traffic.context_mean),
            )
            cost = [self.costs.of(candidates[row].deployment) for row in rows][-1]
            priced = estimate(cost, first.max_num_batched_tokens, traffic, limits)
            for index, name in enumerate(names):
                columns[index, rows] = getattr(priced, name)
        return Estimate(*columns)

    def answer(self, candidate: Candidate) -> Answer:
        """The answer for a candidate: by the estimate if it is hopeless, else by simulation."""
        key = key_of(candidate.choice)
        if key not in self._answers:
            self._answers[key] = self._answer(candidate)
        return self._answers[key]

    def baseline(self, candidate: Candidate) -> Answer:
        """A candidate's answer by simulation alone, whatever was found before."""
        most = candidate.max_replicas
        counts = list(range(1, most + 1)) if self._fewest else [most]
        return self._fewest_that_meet(candidate, counts)

    def simulated(self, candidate: Candidate, replicas: int) -> Answer:
        """The simulation's answer at a number of replicas."""
        deployment = candidate.with_replicas(replicas)
        cost = self.costs.of(deployment)
        result = simulate(deployment, self.workload, cost=cost, memory=candidate.memory)
        self.simulations += 1
        return self.judged(candidate, result)

    def judged(self, candidate: Candidate, result: Result) -> Answer:
        """A result against the SLOs and objectives."""
        values = tuple(result.objective(o, self.slos) for o in self.objectives)
        violations = tuple(violation(slo, result.reached(slo, self.slos)) for slo in self.slos)
        return Answer(candidate, result.deployment, "simulate", values, violations, result)

    def _answer(self, candidate: Candidate) -> Answer:
        most = candidate.max_replicas
        counts = list(range(1, most + 1)) if self._fewest else [most]
        priced = self.estimate([candidate] * len(counts), counts)
        hopeful = [row for row in range(len(counts)) if self._hopeless(priced, row) is None]
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
        offered = self.traffic(candidate.deployment.max_model_len).output_rate
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
            floor = _floor(priced, row, slo)
            if floor is not None and floor * FLOOR_TRUST > slo.threshold:
                return f"{slo.metric} is {floor * 1e3:.0f} ms even without load ({slo})"
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
        worst = tuple(violation(slo, _estimated(priced, row, slo)) for slo in self.slos)
        missed = max(utilisation - 1.0, 0.01)
        return Answer(
            candidate,
            deployment,
            "estimate",
            tuple(_estimated_objective(priced, row, o, deployment) for o in self.objectives),
            tuple(missed if value >= UNDEFINED else max(value, missed) for value in worst),
            None,
            reason or self._hopeless(priced, row) or "",
        )


def _price_alone(objectives: Sequence[Objective], workload: Workload) -> bool:
    """Whether more GPUs can only cost more: one price, and a rate that every answer serves."""
    names = {objective.name for objective in objectives}
    return workload.concurrency is None and len(names) == 1 and names <= set(PRICES)


def price_per_million(objective: Objective, deployment: Deployment, output_rate: float) -> float:
    """USD or GPU-hours per million output tokens, at so many output tokens per second."""
    price = deployment.usd_per_gpu_hour if objective.name == "cost" else 1.0
    return deployment.gpus * (price or 0.0) / 3600.0 / output_rate * 1e6


def violation(slo: Slo, reached: float) -> float:
    """By what share of its threshold `slo` is missed; 0 or below where it is met."""
    if not isfinite(reached):
        return UNDEFINED
    if slo.threshold == 0:
        return 0.0 if slo.met_by(reached) else 1.0
    sign = 1.0 if slo.is_latency else -1.0
    missed = sign * (reached - slo.threshold) / slo.threshold
    return min(missed, 0.0) if slo.met_by(reached) else max(missed, 1e-9)


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


def _floor(priced: Estimate, row: int, slo: Slo) -> float | None:
    if slo.metric == "ttft" and slo.percentile is not None and slo.percentile >= 95:
        return float(priced.ttft_floor[row])
    return float(priced.tpot_floor[row]) if slo.metric == "tpot" else None


def _estimated(priced: Estimate, row: int, slo: Slo) -> float:
    """The estimate's value of what an SLO bounds; where it has none, one that misses it."""
    if slo.metric in ("ttft", "tpot"):
        tail = slo.percentile is not None and slo.percentile > 50
        return float(getattr(priced, f"{slo.metric}_{'p95' if tail else 'mean'}")[row])
    if slo.metric == "throughput":
        return float(priced.output_rate[row])
    return inf if slo.is_latency else 0.0


def _estimated_objective(
    priced: Estimate, row: int, objective: Objective, deployment: Deployment
) -> float:
    output_rate = float(priced.output_rate[row])
    if objective.name in ("cost", "gpu_hours"):
        return price_per_million(objective, deployment, output_rate)
    if objective.name == "throughput":
        return output_rate
    if objective.name in ("ttft", "tpot"):
        tail = objective.percentile is not None and objective.percentile > 50
        value = float(getattr(priced, f"{objective.name}_{'p95' if tail else 'mean'}")[row])
        return min(value, 1e9)
    return 1e9 if objective.direction == "minimise" else 0.0
