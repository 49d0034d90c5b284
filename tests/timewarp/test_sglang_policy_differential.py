"""Our scheduler of SGLang and SGLang's own take the same steps, one by one, to the nanosecond."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost
from servecast.simulator.admission import Admission
from servecast.simulator.engine import Engine
from servecast.simulator.lone_engine import serve_closed_loop
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SPARE_TOKENS, SglangEngineScheduler
from servecast.simulator.waiting_order import SchedulePolicy
from servecast.timewarp.sglang_run import SglangRun
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.driver import records_of
from tests.timewarp.emulated_cases import burst, poisson
from tests.timewarp.emulated_cases import requests as arrivals
from tests.timewarp.sglang_cases import DEPLOYMENT, NORMAL, declared, emulated, pressed, sharing

pytestmark = [
    pytest.mark.engine(name="sglang"),
    pytest.mark.skipif(find_spec("sglang") is None, reason="SGLang is not installed"),
]

UNCACHED = dataclasses.replace(DEPLOYMENT, enable_prefix_caching=False)
PAGED = dataclasses.replace(UNCACHED, block_size=16)
CACHED = dataclasses.replace(DEPLOYMENT, block_size=16)
SHORT = dataclasses.replace(UNCACHED, max_num_batched_tokens=128)
COARSE = dataclasses.replace(UNCACHED, block_size=64)
FEW = dataclasses.replace(UNCACHED, max_num_seqs=5)
COLUMNS = ("first_token_ns", "finish_ns", "preemptions", "cached_tokens")


@dataclass(frozen=True)
class Config:
    """What is served, in a pool of how many tokens, how."""

    name: str
    workload: Workload
    num_tokens: int
    retractions: int
    """At least so many."""
    deployment: Deployment = UNCACHED
    policy: SchedulePolicy = "fcfs"
    conservativeness: float = 1.0

    def options(self) -> tuple[str, ...]:
        """Of SGLang's server."""
        given = ("--schedule-policy", self.policy)
        return NORMAL, *given, "--schedule-conservativeness", str(self.conservativeness)


def ragged(requests: int, rate_per_s: float, seed: int) -> Workload:
    """Poisson arrivals of prompts and outputs of all lengths; clients guess too high."""
    rng = np.random.default_rng(seed)
    outputs = rng.integers(1, 500, requests)
    return Workload(
        "ragged",
        np.cumsum(rng.exponential(1e9 / rate_per_s, requests)).astype(np.int64),
        rng.integers(1, 900, requests),
        outputs,
        outputs + rng.integers(0, 400, requests),
    )


def begun_alike(requests: int, rate_per_s: float, seed: int, page_size: int = 16) -> Workload:
    """Ragged requests, each beginning as far as it may as one of twelve long texts does.

    They part at even places, for at odd ones a page of one token would not tell two texts apart.
    """
    workload = ragged(requests, rate_per_s, seed)
    rng = np.random.default_rng(seed)
    blocks = -(-(workload.prompt_tokens + workload.output_tokens) // page_size)
    texts, shared = rng.integers(0, 12, requests), 2 * rng.integers(0, 20, requests)
    ids = [
        [1000 * (text + 3) + at for at in range(min(depth, count))]
        for text, depth, count in zip(texts.tolist(), shared.tolist(), blocks.tolist(), strict=True)
    ]
    return sharing(workload, page_size, ids)


def crowds(shared: int = 0) -> Workload:
    """Twenty at once, eight times, and rests in between; the first `shared` blocks are alike."""
    arrival_s = [30.0 * crowd + 0.01 * place for crowd in range(8) for place in range(20)]
    workload = declared(arrivals(arrival_s, [120, 333, 77], [300, 250, 410, 190]))
    ids = [[1000 * (4 + row % 3) + at for at in range(shared)] for row in range(len(arrival_s))]
    return sharing(workload, 16, [each[: 4 + row % 2] for row, each in enumerate(ids)])


UNCACHED_CONFIGS = (
    Config("roomy", poisson(150, 8.0), 300_000, 0),
    Config("pressed", pressed(), 2400, 4),
    Config("longest output first", pressed(), 2400, 3, policy="lof"),
    Config("expecting little", pressed(), 2400, 5, conservativeness=0.3),
    Config("expecting all", pressed(), 2400, 3, conservativeness=2.0),
    Config("pages of 16", pressed(), 2400, 3, PAGED),
    Config("pages of 64", ragged(80, 6.0, 1), 4096, 0, COARSE, "fcfs", 0.1),
    Config("ragged", ragged(150, 9.0, 2), 4000, 1, PAGED, "fcfs", 0.2),
    Config("ragged, longest first", ragged(150, 30.0, 3), 4000, 1, PAGED, "lof", 0.1),
    Config("short chunks", ragged(80, 12.0, 4), 4000, 1, SHORT, "fcfs", 0.2),
    Config("few places", burst(40, [100, 1000, 17], [50, 3, 90]), 6000, 0, FEW),
    Config("bursts between rests", declared(poisson(60, 0.7)), 3000, 1),
    Config("crowds between rests", crowds(), 4000, 20, PAGED, "fcfs", 0.1),
    Config("closed loop", closed_loop(ragged(80, 1.0, 5), 24), 4000, 1, UNCACHED, "fcfs", 0.3),
)
CACHED_CONFIGS = (
    Config("cached", begun_alike(150, 9.0, 6), 60_000, 0, CACHED),
    Config("cached, pressed", begun_alike(150, 9.0, 7), 4000, 1, CACHED, "fcfs", 0.2),
    Config("cached, most first", begun_alike(150, 12.0, 8), 4000, 1, CACHED, "lpm", 0.2),
    Config("cached, crowd", begun_alike(250, 200.0, 9), 8000, 1, CACHED, "lpm", 0.3),
    Config("cached, longest first", begun_alike(150, 30.0, 10), 4000, 1, CACHED, "lof", 0.2),
    Config("cached, crowds", crowds(shared=6), 4000, 20, CACHED, "lpm", 0.1),
    Config("cached, page of 1", begun_alike(120, 9.0, 11, 1), 4000, 1, DEPLOYMENT, "fcfs", 0.2),
)


class Recorded(SglangEngineScheduler):
    """Keeps what each pass has decided: who is computed from where, and who is taken back."""

    def __init__(self, limits: SchedulerLimits, config: Config) -> None:
        super().__init__(limits, config.policy, config.conservativeness)
        self.steps: list[tuple[dict[int, tuple[int, int]], list[int]]] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, retracted = super().schedule()
        computed = {chunk.request.index: (chunk.new_tokens, chunk.past_tokens) for chunk in chunks}
        if not chunks:
            computed = {each.index: (1, each.base + self.group.steps) for each in self.running}
        self.steps.append((computed, [request.index for request in retracted]))
        return chunks, retracted


def simulated(config: Config, *, stepping: bool) -> Engine:
    """The simulator's engine, with SGLang's own limit of a request."""
    deployment, workload = config.deployment, config.workload
    limits = SchedulerLimits(
        max_num_seqs=deployment.max_num_seqs,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=deployment.max_model_len,
        num_blocks=config.num_tokens // deployment.block_size,
        block_size=deployment.block_size,
        enable_prefix_caching=deployment.enable_prefix_caching,
    )
    cost = CompiledStepCost(deployment, RooflineSource())
    engine = Engine(limits, cost, policy=lambda given: Recorded(given, config), stepping=stepping)
    named = workload.prefixes and workload.prefixes.in_blocks_of(deployment.block_size)
    room = deployment.max_model_len - SPARE_TOKENS
    requests = Admission(workload, room, named).requests()
    if workload.concurrency is not None:
        serve_closed_loop(engine, requests, workload.concurrency, workload.think_ns)
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return engine


def real(config: Config) -> SglangRun:
    """SGLang's own loop at the same costs."""
    return emulated(
        config.workload,
        *config.options(),
        num_tokens=config.num_tokens,
        deployment=config.deployment,
        cost=CompiledStepCost(config.deployment, RooflineSource()),
    )


@pytest.mark.parametrize(
    "config", UNCACHED_CONFIGS + CACHED_CONFIGS, ids=lambda config: config.name
)
def test_both_take_the_same_steps(config: Config) -> None:
    run, stepping = real(config), simulated(config, stepping=True)
    theirs = [
        ({request: (new, past) for request, new, past in batch.computed}, list(batch.preempted))
        for batch in run.batches.batches
    ]
    assert run.result.preemptions >= config.retractions
    scheduler = stepping.scheduler
    assert isinstance(scheduler, Recorded)
    for place, (ours, true) in enumerate(zip(scheduler.steps, theirs, strict=True)):
        assert ours == true, place
    for engine in (stepping, simulated(config, stepping=False)):
        records = records_of(engine)
        for column in COLUMNS:
            ours_ns, true_ns = getattr(records, column), getattr(run.result.records, column)
            assert ours_ns.tolist() == true_ns.tolist(), column
