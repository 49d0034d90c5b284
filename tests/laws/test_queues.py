"""Laws 6 to 8: with one place a replica and constant steps, engines are the queues of textbooks.

A request of k output tokens takes k steps of 1 ms, so drawing k draws its service time S, of mean
1 s = 1000 steps (rounding S to whole steps moves its moments by less than 10⁻⁶). Half-widths are
from 20 batch means after the first 5 % of the jobs; theory must lie within three of them, and each
must be below 3 % of the theory, so that the test could have failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import simpy
from numpy.typing import NDArray

from servecast.simulator.cluster import Cluster, open_loop
from servecast.simulator.engine import Engine
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from servecast.simulator.router import CentralQueue
from servecast.simulator.vllm_scheduler import SchedulerLimits
from tests.constant_cost import ConstantStepCost

STEP_NS = 1_000_000
STEPS_PER_S = 1000
BATCHES = 20
STUDENT_95 = 2.09
LONGEST = 40_000
LIMITS = SchedulerLimits(1, 1, LONGEST, LONGEST // 16)

Draws = NDArray[np.float64]
Law = Callable[[np.random.Generator, int], Draws]
"""Service times in seconds, of mean 1."""


def exponential(rng: np.random.Generator, jobs: int) -> Draws:
    return rng.exponential(1.0, jobs)


def deterministic(rng: np.random.Generator, jobs: int) -> Draws:
    return np.ones(jobs)


def uniform(rng: np.random.Generator, jobs: int) -> Draws:
    return rng.uniform(0.0, 2.0, jobs)


def lognormal(rng: np.random.Generator, jobs: int) -> Draws:
    return rng.lognormal(-0.125, 0.5, jobs)


def serve(law: Law, rate_per_s: float, jobs: int, servers: int, seed: int) -> Records:
    """Poisson arrivals into one queue in front of `servers` replicas with one place each."""
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)]
    gaps_s = streams[0].exponential(1.0 / rate_per_s, jobs)
    arrivals = np.rint(np.cumsum(gaps_s) * 1e9).astype(np.int64).tolist()
    steps = np.maximum(1, np.rint(law(streams[1], jobs) * STEPS_PER_S)).astype(np.int64).tolist()
    requests = (
        Request(index, arrival_ns, 1, output_tokens, output_tokens)
        for index, (arrival_ns, output_tokens) in enumerate(zip(arrivals, steps, strict=True))
    )
    cost = ConstantStepCost(STEP_NS)
    engines = [Engine(LIMITS, cost, replica) for replica in range(servers)]
    if servers == 1:
        run_alone(engines[0], requests)
    else:
        env = simpy.Environment(initial_time=0)
        env.process(open_loop(Cluster(env, engines, CentralQueue()), requests))
        env.run()
    records = merge([engine.recorder for engine in engines])
    return records.rows(slice(jobs // 20, None))


def run_alone(engine: Engine, requests: Iterator[Request]) -> None:
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
        engine.finished.clear()
    engine.advance(None)
