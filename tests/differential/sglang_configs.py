"""Deployments of SGLang and what they serve, and the two of it: simulated, and its own loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy, SglangSchedulePolicy
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.step_cost import CompiledStepCost, StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.engine import Engine
from servecast.simulator.lone_engine import serve_closed_loop
from servecast.simulator.overlap_engine import OverlapEngine
from servecast.simulator.records import Records
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.sglang_engine_scheduler import SglangEngineScheduler
from servecast.simulator.sglang_limits import output_room, sglang_limits
from servecast.simulator.sglang_overlap_scheduler import SglangOverlapScheduler
from servecast.simulator.simulate import simulate
from servecast.timewarp.sglang_options import server_words
from servecast.timewarp.sglang_run import SglangRun, emulate_sglang
from servecast.traces.workload import Workload
from tests.driver import records_of
from tests.timewarp.emulated_cases import requests as arrivals
from tests.timewarp.sglang_cases import DEPLOYMENT, LOGGED, declared, sharing

COLUMNS = ("scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens")
UNCACHED = dataclasses.replace(DEPLOYMENT, enable_prefix_caching=False)
PAGED = dataclasses.replace(UNCACHED, block_size=16)
CACHED = dataclasses.replace(DEPLOYMENT, block_size=16)
SHORT = dataclasses.replace(UNCACHED, max_num_batched_tokens=128)
COARSE = dataclasses.replace(UNCACHED, block_size=64)
FEW = dataclasses.replace(UNCACHED, max_num_seqs=5)

Note = Callable[[str, object], None]
Decision = tuple[dict[int, tuple[int, int]], list[int]]
"""A step: how many tokens of each request after how many, and who was taken back before it."""


@dataclass(frozen=True)
class Config:
    """What is served, in a pool of how many tokens, how."""

    name: str
    workload: Workload
    num_tokens: int
    retractions: int
    """At least so many."""
    like: Deployment = UNCACHED
    schedule_policy: SglangSchedulePolicy = "fcfs"
    conservativeness: float = 1.0
    overlaps: bool = False
    mixes: bool = False

    @property
    def deployment(self) -> Deployment:
        """As SGLang would be started."""
        return dataclasses.replace(
            self.like,
            num_gpu_blocks_override=self.num_tokens // self.like.block_size,
            policy=SglangPolicy(
                self.schedule_policy, self.conservativeness, self.mixes, not self.overlaps
            ),
        )

    def ahead(self, *, mixes: bool = False) -> Config:
        """The same with overlap."""
        return dataclasses.replace(self, overlaps=True, mixes=mixes)


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


class Between(SglangEngineScheduler):
    """The simulator's scheduler without overlap, writing down what it decides."""

    def __init__(self, limits: SchedulerLimits, config: Config) -> None:
        own = (config.schedule_policy, config.conservativeness, config.mixes)
        super().__init__(limits, *own)
        self.decisions: list[Decision] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, retracted = super().schedule()
        decodes = self.mixes_decodes or not chunks
        self.decisions.append(_decision(chunks, retracted, self._who(chunks) if decodes else []))
        return chunks, retracted

    def _who(self, chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
        beside = {chunk.request for chunk in chunks} | {self.partial}
        steps = self.group.steps
        return [(each.index, each.base + steps) for each in self.running if each not in beside]


class Ahead(SglangOverlapScheduler):
    """The same with overlap, where a pass may compute nothing."""

    def __init__(self, limits: SchedulerLimits, config: Config) -> None:
        own = (config.schedule_policy, config.conservativeness, config.mixes)
        super().__init__(limits, *own)
        self.decisions: list[Decision] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, retracted = super().schedule()
        decoding = self._who(chunks) if self.is_decoding else []
        if chunks or decoding:
            self.decisions.append(_decision(chunks, retracted, decoding))
        return chunks, retracted

    def _who(self, chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
        beside = {chunk.request for chunk in chunks}
        who = [each for each in self.running if each not in beside and self._decodes(each)]
        return [(each.index, each.base + self.group.steps) for each in who]


def assert_same_steps(config: Config, note: Note) -> None:
    """Both decide the same, one step after the other, and every token comes at the same moment."""
    run = real(config)
    assert run.result.preemptions >= config.retractions
    theirs: list[Decision] = [
        ({request: (new, past) for request, new, past in batch.computed}, list(batch.preempted))
        for batch in run.batches.batches
    ]
    ours, records = stepped(config)
    note("batches", len(theirs))
    for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one == other, place
    cost = CompiledStepCost(config.deployment, RooflineSource())
    skipped = simulate(config.deployment, config.workload, cost=cost)
    for found in (records, skipped.records):
        for column in COLUMNS:
            true = getattr(run.result.records, column).tolist()
            assert getattr(found, column).tolist() == true, column
    assert skipped.rejected.tolist() == run.result.rejected.tolist()
    assert skipped.truncated == run.result.truncated


def real(config: Config, cost: StepCost | None = None) -> SglangRun:
    """SGLang's own loop at the same costs."""
    deployment = config.deployment
    words = server_words(deployment, deployment.num_gpu_blocks_override or 0)
    cost = cost or CompiledStepCost(deployment, RooflineSource())
    return emulate_sglang(deployment, config.workload, words, cost, LOGGED)


def stepped(config: Config) -> tuple[list[Decision], Records]:
    """What the simulator decides, step by step, and the records."""
    deployment, workload = config.deployment, config.workload
    limits = sglang_limits(deployment)
    scheduler = Ahead(limits, config) if config.overlaps else Between(limits, config)
    engine = _engine(scheduler, CompiledStepCost(deployment, RooflineSource()))
    named = workload.prefixes and workload.prefixes.in_blocks_of(deployment.block_size)
    known = named if deployment.enable_prefix_caching else None
    room = output_room(limits, workload)
    requests = Admission(workload, deployment.max_model_len, known, room).requests()
    if workload.concurrency is not None:
        serve_closed_loop(engine, requests, workload.concurrency, workload.think_ns)
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return scheduler.decisions, records_of(engine)


def _engine(scheduler: Between | Ahead, cost: CompiledStepCost) -> Engine:
    if isinstance(scheduler, Ahead):
        return OverlapEngine(scheduler, cost, stepping=True)
    return Engine(scheduler.limits, cost, policy=lambda _: scheduler, stepping=True)


def _decision(
    chunks: Sequence[Chunk], retracted: Sequence[Request], decoding: Sequence[tuple[int, int]]
) -> Decision:
    computed = {chunk.request.index: (chunk.new_tokens, chunk.past_tokens) for chunk in chunks}
    computed |= {index: (1, past) for index, past in decoding}
    return computed, [request.index for request in retracted]
