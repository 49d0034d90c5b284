"""Laws 6 to 8: with one place a replica and constant steps, engines are the queues of textbooks.

A request of k output tokens takes k steps of 1 ms, so drawing k draws its service time S, of mean
1 s = 1000 steps (rounding S to whole steps moves its moments by less than 10⁻⁶). Half-widths are
from 20 batch means after the first 5 % of the jobs; theory must lie within three of them, and each
must be below 3 % of the theory, so that the test could have failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import simpy
from numpy.typing import NDArray

from servecast.simulator.engine import Engine
from servecast.simulator.fleet.clients import open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.load_routers import CentralQueue
from servecast.simulator.orca_scheduler import OrcaScheduler
from servecast.simulator.records import Records, merge
from servecast.simulator.request import Request
from servecast.simulator.sarathi_scheduler import SarathiScheduler
from servecast.simulator.scheduler import Scheduler, SchedulerLimits
from servecast.simulator.static_scheduler import StaticScheduler
from servecast.simulator.trtllm_pausing_scheduler import TrtllmPausingScheduler
from servecast.simulator.trtllm_scheduler import TrtllmScheduler
from servecast.simulator.vllm_scheduler import VllmScheduler
from tests.constant_cost import ConstantStepCost

STEP_NS = 1_000_000
STEPS_PER_S = 1000
BATCHES = 20
STUDENT_95 = 2.09
LONGEST = 40_000
LIMITS = SchedulerLimits(1, LONGEST, LONGEST, LONGEST // 16)
POLICIES: tuple[type[Scheduler], ...] = (
    StaticScheduler,
    OrcaScheduler,
    SarathiScheduler,
    TrtllmScheduler,
    TrtllmPausingScheduler,
)

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


def serve(
    law: Law,
    rate_per_s: float,
    jobs: int,
    servers: int,
    seed: int,
    dropped: float = 0.05,
    policy: type[Scheduler] = VllmScheduler,
) -> Records:
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
    engines = [Engine(LIMITS, cost, replica, policy=policy) for replica in range(servers)]
    if servers == 1:
        run_alone(engines[0], requests)
    else:
        env = simpy.Environment(initial_time=0)
        env.process(open_loop(Cluster(env, engines, CentralQueue()), requests))
        env.run()
    records = merge([engine.recorder for engine in engines])
    return records.rows(slice(int(dropped * jobs), None))


def run_alone(engine: Engine, requests: Iterator[Request]) -> None:
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
        engine.finished.clear()
    engine.advance(None)


def agrees(
    values: Draws, theory: float, statistic: Callable[[Draws], float] = lambda v: float(v.mean())
) -> None:
    """The statistics rule: 20 batches of consecutive jobs, three half-widths, and those small."""
    batches = np.asarray([statistic(batch) for batch in np.array_split(values, BATCHES)])
    half_width = STUDENT_95 * float(batches.std(ddof=1)) / BATCHES**0.5
    seen = f"{batches.mean():.4f} ± {half_width:.4f}, theory {theory:.4f}"
    assert half_width < 0.03 * theory, f"too few jobs: {seen}"
    assert abs(float(batches.mean()) - theory) <= 3 * half_width, seen


def waits_s(records: Records) -> Draws:
    return (records.scheduled_ns - records.arrival_ns) / 1e9


def obeys_mm1(records: Records, rate_per_s: float) -> None:
    """Wq = ρ / (μ - λ); the sojourn is exponential with rate μ - λ."""
    slack = 1.0 - rate_per_s
    sojourns_s = records.e2e_ns / 1e9
    agrees(waits_s(records), rate_per_s / slack)
    agrees(sojourns_s, 1.0 / slack)
    for share in (0.5, 0.9, 0.95):
        agrees(sojourns_s, -np.log(1 - share) / slack, partial(np.quantile, q=share))


def erlang_c(load: float, servers: int) -> float:
    """Probability of waiting in M/M/c, from Erlang's B by its recursion."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def workload_ns(records: Records, servers: int) -> list[int]:
    """Waits by the recursion of Kiefer and Wolfowitz (Lindley's for one server), in integers."""
    free_at, waits = [0] * servers, list[int]()
    service = records.output_tokens * STEP_NS
    for arrival_ns, service_ns in zip(records.arrival_ns.tolist(), service.tolist(), strict=True):
        free_at.sort()
        start_ns = max(arrival_ns, free_at[0])
        waits.append(start_ns - arrival_ns)
        free_at[0] = start_ns + service_ns
    return waits


@pytest.mark.parametrize(("law", "servers"), [(exponential, 1), (lognormal, 1), (exponential, 4)])
def test_every_wait_is_that_of_the_recursion(law: Law, servers: int) -> None:
    records = serve(law, 0.8 * servers, jobs=5000, servers=servers, seed=3, dropped=0)
    assert (records.scheduled_ns - records.arrival_ns).tolist() == workload_ns(records, servers)
    assert (records.finish_ns - records.scheduled_ns == records.output_tokens * STEP_NS).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_with_one_place_every_policy_is_the_same_queue(policy: type[Scheduler]) -> None:
    records = serve(exponential, 0.8, jobs=3000, servers=1, seed=3, dropped=0, policy=policy)
    assert (records.scheduled_ns - records.arrival_ns).tolist() == workload_ns(records, servers=1)


@pytest.mark.slow
def test_static_batching_of_one_is_mm1() -> None:
    records = serve(exponential, 0.5, jobs=200_000, servers=1, seed=2, policy=StaticScheduler)
    obeys_mm1(records, 0.5)


def test_mm1_at_half_load() -> None:
    obeys_mm1(serve(exponential, 0.5, jobs=200_000, servers=1, seed=1), 0.5)


@pytest.mark.slow
def test_mm1() -> None:
    obeys_mm1(serve(exponential, 0.7, jobs=800_000, servers=1, seed=1), 0.7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "second_moment"),
    [(deterministic, 1.0), (uniform, 4 / 3), (lognormal, float(np.exp(0.25)))],
)
def test_mg1_waits_as_pollaczek_and_khinchine_say(law: Law, second_moment: float) -> None:
    """Wq = λ E[S²] / (2 (1 - ρ))."""
    records = serve(law, 0.7, jobs=400_000, servers=1, seed=1)
    agrees(waits_s(records), 0.7 * second_moment / (2 * (1 - 0.7)))


@pytest.mark.slow
def test_mm4_waits_as_erlang_c_says() -> None:
    """Wq = C / (cμ - λ), C the probability of waiting."""
    records = serve(exponential, 3.2, jobs=1_000_000, servers=4, seed=1)
    waits = waits_s(records)
    agrees((waits > 0).astype(np.float64), erlang_c(3.2, 4))
    agrees(waits, erlang_c(3.2, 4) / (4 - 3.2))


def test_constant_steps_hold_as_many_requests_as_little_says() -> None:
    """Law 10: λLτ requests a step, and L steps each after half a step's wait for the boundary."""
    rate_per_s, tokens, step_s, jobs = 5.0, 50, 0.02, 60_000
    arrivals_s = np.cumsum(np.random.default_rng(1).exponential(1 / rate_per_s, jobs))
    engine = Engine(SchedulerLimits(256, 8192, 1024, 256 * 64), ConstantStepCost(20_000_000))
    arrivals = np.rint(arrivals_s * 1e9).astype(np.int64).tolist()
    run_alone(engine, (Request(i, ns, 1, tokens, tokens) for i, ns in enumerate(arrivals)))
    records, log = merge([engine.recorder]), engine.log
    agrees(records.e2e_ns / 1e9, tokens * step_s + step_s / 2)
    inside = log.column("sequences") + log.column("chunk_tokens")  # a prompt has one token
    held_s = float((inside * log.column("duration_ns")).sum()) / 1e9
    assert held_s / engine.now_ns * 1e9 == pytest.approx(rate_per_s * tokens * step_s, rel=0.01)


def test_erlang_c_of_one_server_is_its_load() -> None:
    assert erlang_c(0.7, 1) == pytest.approx(0.7)
    assert erlang_c(3.2, 4) == pytest.approx(0.5964, abs=1e-4)
