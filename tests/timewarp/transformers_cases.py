"""Workloads and options that drive transformers' loop through what its scheduler can do."""

from __future__ import annotations

import numpy as np

from servecast.primitives.policy import TransformersSchedulerType
from servecast.timewarp.transformers_models import SmallLlama
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.traces.workload import Workload

STEP_NS = 10_000_000
TINY = SmallLlama(layers=2, hidden=32, width=64, heads=2, vocab=128)
ROOMY = TransformersOptions(
    num_blocks=512, max_batch_tokens=256, max_requests_per_batch=32, page_size=16
)


def cramped(
    scheduler: TransformersSchedulerType = "fifo", *, blocks: int = 24, sharing: bool = False
) -> TransformersOptions:
    """A cache that a handful of requests fill."""
    return TransformersOptions(
        num_blocks=blocks,
        max_batch_tokens=64,
        max_requests_per_batch=8,
        page_size=16,
        scheduler_type=scheduler,
        allow_block_sharing=sharing,
    )


def at_once(*lengths: tuple[int, int], max_tokens: int = 500) -> Workload:
    """Requests of (prompt, output) tokens that all arrive at 0."""
    prompts, outputs = np.array(lengths, dtype=np.int64).T
    zeros = np.zeros(len(lengths), dtype=np.int64)
    return Workload("at once", zeros, prompts, outputs, zeros + max_tokens)


def random(requests: int, rate_per_s: float, seed: int, longest: int = 200) -> Workload:
    """Poisson arrivals of prompts up to `longest` tokens with half as much output."""
    rng = np.random.default_rng(seed)
    return Workload(
        "random",
        np.cumsum(rng.exponential(1e9 / rate_per_s, requests)).astype(np.int64),
        rng.integers(1, longest, requests),
        rng.integers(1, longest // 2, requests),
        np.full(requests, longest, dtype=np.int64),
    )
