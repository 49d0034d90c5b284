"""Deployments and workloads that drive an engine through what its scheduler can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.simulator.admission import Admission
from servecast.simulator.any_engine import AnyEngine
from servecast.simulator.lone_engine import serve_closed_loop
from servecast.timewarp.foreign import foreign
from servecast.traces.prefixes import prefixes
from servecast.traces.reshape import closed_loop
from servecast.traces.synthesize import synthesize
from servecast.traces.workload import Workload
from tests.emitted_cases import DEPLOYMENT

PLAIN = dataclasses.replace(
    DEPLOYMENT,
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=2048,
    max_num_seqs=64,
    max_num_batched_tokens=2048,
    tensor_parallel_size=1,
)


@dataclass(frozen=True)
class Case:
    """What is served, and to whom."""

    name: str
    deployment: Deployment
    workload: Workload


def admitted(case: Case) -> Admission:
    """The case's requests as its engine's front end hands them on."""
    named = case.workload.prefixes if case.deployment.enable_prefix_caching else None
    if named is not None:
        named = named.in_blocks_of(case.deployment.block_size)
    return Admission(case.workload, case.deployment.max_model_len, named)


def requests(
    arrival_s: Sequence[float], prompts: Sequence[int], outputs: Sequence[int]
) -> Workload:
    """Requests whose clients declare the longest output that the model allows."""
    count = len(arrival_s)
    return Workload(
        name="made up",
        arrival_ns=np.array([round(second * 1e9) for second in arrival_s], dtype=np.int64),
        prompt_tokens=np.resize(np.array(prompts, dtype=np.int64), count),
        output_tokens=np.resize(np.array(outputs, dtype=np.int64), count),
        max_tokens=np.full(count, 4096, dtype=np.int64),
    )


def burst(count: int, prompts: Sequence[int], outputs: Sequence[int]) -> Workload:
    """Requests that come all at once."""
    return requests([0.0] * count, prompts, outputs)


def poisson(count: int, rate_per_s: float, seed: int = 7) -> Workload:
    """Independent users of a chat service; prompts and outputs cut to the toy model's length."""
    drawn = synthesize("chat", count, rate_per_s=rate_per_s, seed=seed)
    return dataclasses.replace(
        drawn,
        prompt_tokens=np.minimum(drawn.prompt_tokens, 1500),
        output_tokens=np.minimum(drawn.output_tokens, 400),
    )


def limited(**changes: int) -> Deployment:
    """The plain deployment with other limits."""
    fixed: dict[str, int] = changes
    return dataclasses.replace(PLAIN, **fixed)  # type: ignore[arg-type]


def caching(**changes: int) -> Deployment:
    """The same with a prefix cache."""
    return dataclasses.replace(limited(**changes), enable_prefix_caching=True)


def one_prefix(count: int, rate_per_s: float) -> Workload:
    """Users of one system prompt of 64 blocks, and one of 3 tokens more."""
    arrival_s = [i / rate_per_s for i in range(count)]
    plain = requests(arrival_s, [1027, 1100, 1400, 1024], [40, 90, 15])
    return dataclasses.replace(plain, prefixes=prefixes(16, [range(64)] * count))


def many_prefixes(count: int, rate_per_s: float, seed: int = 3) -> Workload:
    """Users of 20 system prompts of 32 blocks each, some far more popular than others."""
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate_per_s, count)).tolist()
    popular = np.minimum(rng.zipf(1.5, count) - 1, 19).tolist()
    plain = requests(arrival_s, [530, 600, 700, 512], [40, 120, 15, 70, 33])
    named = [range(100 * which, 100 * which + 32) for which in popular]
    return dataclasses.replace(plain, prefixes=prefixes(16, named))


def conversations(sessions: int, turns: int, seed: int = 5) -> Workload:
    """Each turn's prompt is all that was said before and a little more, 3 to 6 s later."""
    rng = np.random.default_rng(seed)
    said: list[tuple[float, int, int, range]] = []
    for session in range(sessions):
        second, prompt = float(rng.uniform(0, 4)), int(rng.integers(20, 200))
        for _ in range(turns):
            output = int(rng.integers(5, 120))
            named = range(1000 * session, 1000 * session + (prompt + output) // 16)
            said.append((second, prompt, output, named))
            second += float(rng.uniform(3, 6))
            prompt += output + int(rng.integers(1, 80))
    said.sort(key=lambda each: each[0])
    arrival_s, prompts, outputs, chains = zip(*said, strict=True)
    plain = requests(arrival_s, prompts, outputs)
    return dataclasses.replace(plain, prefixes=prefixes(16, chains, names_outputs=True))


CASES = (
    Case("Poisson at a moderate rate", PLAIN, poisson(150, 8.0)),
    Case("Poisson beyond what it can serve", limited(max_num_seqs=12), poisson(150, 40.0)),
    Case("budget of 128, prompts in many chunks", limited(max_num_batched_tokens=128),
         poisson(60, 6.0)),
    Case("budget of one token a sequence", limited(max_num_batched_tokens=64),
         burst(80, [90, 400, 33], [7, 30, 120])),
    Case("burst into few places", limited(max_num_seqs=5), burst(40, [100, 1000, 17], [50, 3, 90])),
    Case("small cache, preemptions", limited(max_model_len=1024, num_gpu_blocks_override=97),
         burst(24, [120, 310, 64], [300, 200, 90])),
    Case("small cache, arrivals among preemptions",
         limited(max_model_len=1024, num_gpu_blocks_override=97, max_num_batched_tokens=256),
         requests([0.02 * i for i in range(40)], [120, 310, 64, 500], [300, 200, 90, 10])),
    Case("one token each", PLAIN, burst(30, [1, 15, 16, 17, 33], [1])),
    Case("closed loop", limited(max_num_seqs=8),
         closed_loop(burst(40, [200, 40], [30, 60, 10]), 6, 50_000_000)),
    Case("one system prompt", caching(), one_prefix(60, 12.0)),
    Case("one system prompt, small budget", caching(max_num_batched_tokens=200),
         one_prefix(40, 20.0)),
    Case("many system prompts in a small cache",
         caching(max_model_len=1024, num_gpu_blocks_override=400), many_prefixes(120, 12.0)),
    Case("conversations", caching(), conversations(20, 3)),
    Case("conversations in a small cache",
         caching(max_model_len=1024, num_gpu_blocks_override=150), conversations(20, 3)),
    Case("a prefix cache under preemptions",
         caching(max_model_len=1024, num_gpu_blocks_override=97),
         burst(24, [120, 310, 64], [300, 200, 90])),
)  # fmt: skip


def serve(engine: AnyEngine, case: Case) -> None:
    """The simulator's engine serves all that the case's clients send."""
    requests, traffic = admitted(case).requests(), case.workload
    if traffic.concurrency is not None:
        serve_closed_loop(engine, requests, traffic.concurrency, traffic.think_ns)
        return
    for request in requests:
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)


def break_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's scheduler raises at the third output that it is given."""
    scheduler = foreign("vllm.v1.core.sched.scheduler").Scheduler
    real, calls = scheduler.update_from_output, [0]

    def broken(self: object, *given: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            raise AssertionError("no such block")
        return real(self, *given)

    monkeypatch.setattr(scheduler, "update_from_output", broken)
