"""Small spaces, workloads and questions for the tests of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_costs import StepCosts
from servecast.search.answers import Answer
from servecast.search.evaluator import Evaluator
from servecast.search.recommend import Question
from servecast.search.space import Candidate, Choice, Space, Value
from servecast.simulator.objective import Objective, parse_objective
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo, parse_slo
from servecast.traces.workload import Workload
from tests.toy_deployments import DENSE

BASE = replace(DENSE, usd_per_gpu_hour=1.0)


def space(
    base: Deployment = BASE,
    gpus: int = 4,
    auto_replicas: bool = True,
    **dimensions: Sequence[Value],
) -> Space:
    """All combinations of some fields of a deployment."""

    def build(choice: Choice) -> Deployment:
        fields: Mapping[str, object] = dict(choice)
        return replace(base, **fields)  # type: ignore[arg-type]

    named = {name: tuple(values) for name, values in dimensions.items()}
    return Space(named, build, gpus, auto_replicas)


def candidate(deployment: Deployment, gpus: int = 4) -> Candidate:
    """A candidate of its own, as if it were the only choice."""
    most = gpus // deployment.gpus_per_replica
    return Candidate({"only": repr(deployment), "gpus": gpus}, deployment, ledger(deployment), most)


def workload(requests: int = 300, rate: float = 6.0, seed: int = 0) -> Workload:
    """Poisson arrivals of prompts around 300 tokens and answers around 60."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1e9 / rate, requests)
    outputs = rng.integers(20, 100, requests)
    return Workload(
        name="toy traffic",
        arrival_ns=np.cumsum(gaps).astype(np.int64),
        prompt_tokens=rng.integers(50, 600, requests),
        output_tokens=outputs,
        max_tokens=outputs,
    )


def slos(*lines: str) -> list[Slo]:
    return [parse_slo(line) for line in lines]


def objectives(*names: str) -> list[Objective]:
    return [parse_objective(name) for name in names]


def evaluator(
    traffic: Workload,
    *limits: str,
    objective: Sequence[str] = ("cost",),
    fewest: bool = True,
) -> Evaluator:
    return Evaluator(
        traffic,
        slos(*limits),
        objectives(*objective),
        StepCosts(RooflineSource()),
        fewest_replicas=fewest,
    )


def question(
    asked: Space,
    traffic: Workload,
    *limits: str,
    objective: Sequence[str] = ("cost",),
    trials: int = 64,
    seed: int = 0,
    current: Deployment | None = None,
) -> Question:
    return Question(
        space=asked,
        workload=traffic,
        slos=slos(*limits),
        objectives=objectives(*objective),
        source=RooflineSource(),
        relative_error=0.2,
        trials=trials,
        seed=seed,
        current=current,
    )


@cache
def calm_result() -> Result:
    """A run that is no overload, whatever else."""
    return simulate(BASE, replace(workload(requests=2), concurrency=1))


def answer(
    *values: float, violations: Sequence[float] = (-0.5,), deployment: Deployment = BASE
) -> Answer:
    """A simulated answer of these objectives and violations."""
    return Answer(
        candidate(deployment),
        deployment,
        "simulate",
        tuple(values),
        tuple(violations),
        calm_result(),
    )
