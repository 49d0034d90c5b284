"""inference-perf's shared-prefix load: groups of prompts that begin alike, in stages of a rate.

As llm-d's guide states it (guides/optimized-baseline/benchmark-templates/shared_prefix.yaml): 150
groups of 5 prompts, shuffled once and sent over and over; a stage begins when the one before has
been answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simpy
from numpy.typing import NDArray

from servecast.primitives.deployment import Deployment
from servecast.simulator.fleet.clients import open_loop
from servecast.simulator.fleet.cluster import Cluster
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.records import Records, merge
from servecast.simulator.replica_plan import ReplicaPlan, replica_plan
from servecast.simulator.request import Request
from servecast.traces.prefixes import Prefixes
from servecast.traces.workload import Workload

GROUPS, PROMPTS_A_GROUP = 150, 5
SYSTEM_TOKENS = 6000
WARM_UP = (15.0, 50.0)
"""The rate and the seconds of the stage before those that are measured."""
LADDER = {
    3.0: 20.0, 10.0: 20.0, 15.0: 20.0, 20.0: 38.0, 22.0: 34.0, 25.0: 30.0, 30.0: 25.0, 35.0: 21.0,
    40.0: 38.0, 43.0: 36.0, 46.0: 33.0, 49.0: 30.0, 52.0: 29.0, 55.0: 27.0, 57.0: 26.0, 60.0: 25.0,
}  # fmt: skip
"""The seconds of each measured stage, by its rate."""
PAUSE_NS = 1_000_000_000
"""Between two stages."""
_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage reached."""

    rate: float
    output_tokens_per_s: float
    """From the stage's start to its last token."""
    ttft_mean_s: float
    ttft_p50_s: float
    ttft_p90_s: float
    cached_share: float


def shared_prefixes(
    question_tokens: int, output_tokens: int, stages: Sequence[tuple[float, float]], seed: int
) -> Workload:
    """All requests of the stages, arrivals counted from the start of each one's own stage."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(GROUPS * PROMPTS_A_GROUP)
    gaps = [rng.exponential(1.0 / rate, round(rate * length)) for rate, length in stages]
    arrivals = np.concatenate([np.rint(np.cumsum(each) * 1e9) for each in gaps]).astype(np.int64)
    prompts = order[np.arange(len(arrivals)) % len(order)]
    lengths = np.full(len(arrivals), SYSTEM_TOKENS + question_tokens, np.int64)
    outputs = np.full(len(arrivals), output_tokens, np.int64)
    prefixes = _prefixes(prompts, question_tokens)
    return Workload("shared prefixes", arrivals, lengths, outputs, outputs, prefixes=prefixes)


def _prefixes(prompts: NDArray[np.int64], question_tokens: int) -> Prefixes:
    """Each prompt's blocks: those of its group, then its own."""
    shared, own = SYSTEM_TOKENS // _BLOCK_TOKENS, question_tokens // _BLOCK_TOKENS
    first = np.stack([prompts // PROMPTS_A_GROUP * shared, GROUPS * shared + prompts * own], axis=1)
    length = np.broadcast_to(np.array([shared, own]), first.shape)
    starts = 2 * np.arange(len(prompts) + 1, dtype=np.int64)
    return Prefixes(_BLOCK_TOKENS, starts, first.ravel(), length.ravel())


def serve_ladder(
    deployment: Deployment, question_tokens: int, output_tokens: int, rates: Sequence[float]
) -> list[Stage]:
    """The warm-up and a stage for each rate through one cluster, whose caches stay as they are."""
    stages = [WARM_UP, *((rate, LADDER[rate]) for rate in rates)]
    workload = shared_prefixes(question_tokens, output_tokens, stages, seed=0)
    ladder = _Ladder(deployment, replica_plan(deployment, workload), workload)
    begun = [ladder.serve(round(rate * length)) for rate, length in stages]
    records = ladder.records()
    counts = np.cumsum([0, *(round(rate * length) for rate, length in stages)])
    found = [
        _stage(rate, begin, records.rows(slice(int(counts[n]), int(counts[n + 1]))))
        for n, ((rate, _), begin) in enumerate(zip(stages, begun, strict=True))
    ]
    return found[1:]


class _Ladder:
    """Replicas behind a router, and the requests that are still to be sent."""

    def __init__(self, deployment: Deployment, plan: ReplicaPlan, workload: Workload) -> None:
        self._env = simpy.Environment(initial_time=0)
        self._engines = [plan.engine(number) for number in range(deployment.replicas)]
        router = router_of(
            deployment.routing,
            lambda: int(self._env.now),
            deployment.routing_options,
            deployment.block_size,
        )
        self._cluster = Cluster(self._env, self._engines, router, on_finish=_ignore)
        self._requests = plan.admission(workload).requests()

    def serve(self, count: int) -> int:
        """Send the next `count` requests and wait for their answers; when the stage began."""
        begin_ns = int(self._env.now)
        sent = [next(self._requests) for _ in range(count)]
        for request in sent:
            request.arrival_ns += begin_ns
        self._env.process(open_loop(self._cluster, sent))
        self._env.run()
        self._env.run(until=int(self._env.now) + PAUSE_NS)
        return begin_ns

    def records(self) -> Records:
        """Of all that was served."""
        return merge([engine.recorder for engine in self._engines])


def _ignore(_: Request) -> None:
    """Nobody listens: the cluster is watched so that its clock goes on."""


def _stage(rate: float, begin_ns: int, records: Records) -> Stage:
    spent_s = (int(records.finish_ns.max()) - begin_ns) / 1e9
    ttft_s = records.ttft_ns / 1e9
    return Stage(
        rate=rate,
        output_tokens_per_s=int(records.output_tokens.sum()) / spent_s,
        ttft_mean_s=float(ttft_s.mean()),
        ttft_p50_s=float(np.percentile(ttft_s, 50)),
        ttft_p90_s=float(np.percentile(ttft_s, 90)),
        cached_share=int(records.cached_tokens.sum()) / int(records.prompt_tokens.sum()),
    )
