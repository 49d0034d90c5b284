"""What vLLM and the simulator's engine that takes every step are laid side by side on."""

from __future__ import annotations

import dataclasses

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.primitives.drafts_by_batch import Ranges
from servecast.primitives.dtype import Dtype
from servecast.primitives.speculation import DraftModel, Method, Speculation
from servecast.traces.prefixes import prefixes
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.timewarp.emulated_cases import (
    PLAIN,
    Case,
    burst,
    conversations,
    many_prefixes,
    poisson,
    requests,
)

CRAMPED = dataclasses.replace(PLAIN, max_model_len=1024, num_gpu_blocks_override=120)
"""A KV cache in which requests give way all the time."""


def served(
    base: Deployment = PLAIN,
    *,
    drafts: tuple[Method, int] | None = None,
    by_batch: Ranges = (),
    spread: float = 0.0,
    **changes: int | str,
) -> Deployment:
    """A deployment with other limits; `drafts` by a method, so many for each step, in
    `by_batch` fewer."""
    speculation = None
    if drafts is not None:
        method, count = drafts
        chances = tuple(round(0.8 * 0.7**place, 3) for place in range(count))
        model = None if method == "ngram" else DraftModel(PLAIN.model, Dtype.BF16)
        speculation = Speculation(
            method,
            count,
            chances,
            model,
            request_spread=spread,
            num_speculative_tokens_per_batch_size=by_batch,
        )
    return dataclasses.replace(base, speculation=speculation, **changes)  # type: ignore[arg-type]


def urgent(workload: Workload, levels: int = 4, seed: int = 11) -> Workload:
    """The same requests, some more urgent than others."""
    drawn = np.random.default_rng(seed).integers(0, levels, len(workload))
    return dataclasses.replace(workload, priorities=drawn - levels // 2)


def long_and_short(count: int, rate_per_s: float, seed: int = 2) -> Workload:
    """Prompts of which every fourth is long, and outputs that are not."""
    arrival_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, count))
    return requests(arrival_s.tolist(), [1500, 90, 300, 40], [50, 130, 80, 200, 7])


def bursts(count: int, size: int, every_s: float) -> Workload:
    """So many requests at once, again and again."""
    arrival_s = [every_s * (place // size) for place in range(count)]
    return requests(arrival_s, [120, 310, 64, 700, 15], [300, 200, 90, 160])


CROWD, SLOW = poisson(150, 40.0), poisson(150, 8.0)
IN_BURSTS = bursts(120, 20, 1.5)

STEPPED = (
    Case("two stages", served(pipeline_parallel_size=2), SLOW),
    Case("four stages, budget of 512",
         served(pipeline_parallel_size=4, max_num_batched_tokens=512), CROWD),
    Case("four stages ahead, budget of 8192",
         served(pipeline_parallel_size=4, max_num_batched_tokens=8192, async_scheduling=True),
         CROWD),
    Case("two stages ahead in a small cache",
         served(CRAMPED, pipeline_parallel_size=2, async_scheduling=True), IN_BURSTS),
    Case("four stages in a small cache, budget of 512",
         served(CRAMPED, pipeline_parallel_size=4, max_num_batched_tokens=512), IN_BURSTS),
    Case("two stages, conversations",
         served(pipeline_parallel_size=2, enable_prefix_caching=True), conversations(24, 8)),
    Case("four stages ahead, many system prompts in a small cache",
         served(pipeline_parallel_size=4, async_scheduling=True, enable_prefix_caching=True,
                max_model_len=1024, num_gpu_blocks_override=300), many_prefixes(150, 12.0)),
    Case("four stages, closed loop", served(pipeline_parallel_size=4, max_num_seqs=24),
         closed_loop(burst(150, [200, 40, 900], [130, 60, 210]), 20, 50_000_000)),
    Case("a draft by n-gram", served(drafts=("ngram", 1)), SLOW),
    Case("four drafts by n-gram, budget of 512",
         served(drafts=("ngram", 4), max_num_batched_tokens=512), SLOW),
    Case("three drafts by n-gram in a small cache, bursts",
         served(CRAMPED, drafts=("ngram", 3)), bursts(300, 20, 1.5)),
    Case("two drafts by n-gram, many system prompts in a small cache",
         served(drafts=("ngram", 2), enable_prefix_caching=True, max_model_len=1024,
                num_gpu_blocks_override=200), many_prefixes(400, 16.0)),
    Case("two drafts by a model", served(drafts=("draft_model", 2), spread=0.1), poisson(500, 8.0)),
    Case("four drafts by a model, budget of 512",
         served(drafts=("draft_model", 4), max_num_batched_tokens=512), poisson(760, 8.0)),
    Case("three drafts by a model ahead, budget of 8192",
         served(drafts=("draft_model", 3), max_num_batched_tokens=8192, async_scheduling=True),
         poisson(700, 8.0)),
    Case("a draft by a model ahead in a small cache, bursts",
         served(CRAMPED, drafts=("draft_model", 1), async_scheduling=True), bursts(240, 20, 1.5)),
    Case("four drafts by a model ahead, conversations",
         served(drafts=("draft_model", 4), async_scheduling=True, enable_prefix_caching=True),
         conversations(14, 20)),
    Case("three drafts by EAGLE, many system prompts in a small cache",
         served(drafts=("eagle", 3), enable_prefix_caching=True, max_model_len=1024,
                num_gpu_blocks_override=200), many_prefixes(700, 14.0)),
    Case("drafts by n-gram, by batch size",
         served(drafts=("ngram", 4), by_batch=((1, 4, 4), (5, 9, 2), (10, 64, 0))),
         poisson(300, 12.0)),
    Case("drafts by n-gram, by batch size in a small cache, by priority",
         served(CRAMPED, drafts=("ngram", 3), by_batch=((1, 3, 1), (6, 7, 9)),
                scheduling_policy="priority"), urgent(bursts(120, 20, 1.5))),
    Case("drafts by a model, by batch size, in a small prefix cache, budget of 512",
         served(drafts=("draft_model", 4), by_batch=((1, 2, 4), (3, 6, 1), (7, 8, 0), (9, 64, 2)),
                max_num_batched_tokens=512, enable_prefix_caching=True, max_model_len=1024,
                num_gpu_blocks_override=200), many_prefixes(400, 14.0)),
    Case("drafts by a model ahead, by batch size",
         served(drafts=("draft_model", 4), by_batch=((1, 4, 4), (5, 9, 2), (10, 64, 0)),
                async_scheduling=True), poisson(560, 12.0)),
    Case("drafts by EAGLE ahead, by batch size in a small cache, bursts",
         served(CRAMPED, drafts=("eagle", 3), by_batch=((1, 3, 3), (4, 6, 0), (7, 64, 1)),
                async_scheduling=True), bursts(80, 20, 1.5)),
    Case("by priority", served(scheduling_policy="priority", max_num_seqs=16), urgent(CROWD)),
    Case("by priority in a small cache, bursts",
         served(CRAMPED, scheduling_policy="priority"), urgent(IN_BURSTS)),
    Case("by priority ahead in a small cache",
         served(CRAMPED, scheduling_policy="priority", async_scheduling=True),
         urgent(IN_BURSTS, 3)),
    Case("by priority over two stages, many system prompts in a small cache",
         served(scheduling_policy="priority", pipeline_parallel_size=2, enable_prefix_caching=True,
                max_model_len=1024, num_gpu_blocks_override=150), urgent(many_prefixes(200, 12.0))),
    Case("by priority, three drafts by n-gram in a small cache",
         served(CRAMPED, scheduling_policy="priority", drafts=("ngram", 3)),
         urgent(bursts(300, 20, 1.5))),
    Case("long prompts by the piece", served(long_prefill_token_threshold=200),
         long_and_short(150, 8.0)),
    Case("long prompts by a fair piece, budget of 8192, in a small cache",
         served(long_prefill_token_threshold=64, long_prefill_token_threshold_adaptive=True,
                max_num_batched_tokens=8192, num_gpu_blocks_override=160),
         long_and_short(100, 10.0)),
    Case("long prompts by the piece over four stages ahead",
         served(long_prefill_token_threshold=100, pipeline_parallel_size=4, async_scheduling=True),
         long_and_short(120, 12.0)),
    Case("long prompts by the piece and by priority, three drafts by a model",
         served(long_prefill_token_threshold=128, scheduling_policy="priority",
                drafts=("draft_model", 3)), urgent(long_and_short(400, 4.0))),
)  # fmt: skip
"""Each is 2,000 steps or more."""


def drawn(seed: int) -> Case:
    """Cramped caches, small budgets, bursts and lulls, under options of all kinds at once."""
    rng = np.random.default_rng(seed)
    max_model_len = int(rng.choice([128, 256, 512]))
    max_num_seqs = int(rng.integers(2, 24))
    ahead, stages = bool(rng.integers(2)), int(rng.choice([1, 1, 2, 4]))
    methods: tuple[Method, ...] = ("draft_model", "eagle", "ngram")  # vLLM refuses the last ahead
    drafts = (methods[int(rng.integers(3 - ahead))], int(rng.integers(1, 5)))
    drawn_ranges = ((1, 3, 4), (4, 5, 0), (6, 9, 1), (10, 64, 2)) if rng.integers(2) else ()
    drafting = drafts if stages == 1 and rng.integers(3) else None
    base = served(drafts=drafting, by_batch=drawn_ranges)
    threshold = int(rng.choice([0, 0, 17, 60]))
    deployment = dataclasses.replace(
        base,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=2 * max_num_seqs + int(rng.integers(0, 300)),
        num_gpu_blocks_override=max_model_len // 16 + 3 + int(rng.integers(0, 60)),
        async_scheduling=ahead,
        pipeline_parallel_size=stages,
        enable_prefix_caching=bool(rng.integers(2)),
        scheduling_policy="priority" if rng.integers(2) else "fcfs",
        long_prefill_token_threshold=threshold,
        long_prefill_token_threshold_adaptive=bool(rng.integers(2)),
    )
    return Case(f"seed {seed}", deployment, _drawn_requests(rng, max_model_len))


def _drawn_requests(rng: np.random.Generator, max_model_len: int) -> Workload:
    """Requests of four chains of blocks, whose clients declare what they get or more."""
    count = int(rng.integers(20, 80))
    gaps_s = rng.choice([0.0, 1e-9, 0.01, 0.3], count) * rng.random(count)
    prompts = rng.integers(1, max_model_len - 1, count)
    outputs = 1 + rng.integers(0, max_model_len, count) % (max_model_len - prompts)
    made = requests(np.cumsum(gaps_s).tolist(), prompts.tolist(), outputs.tolist())
    chains = rng.integers(0, 4, count)
    named = [
        range(1000 * chain, 1000 * chain + prompt // 16)
        for chain, prompt in zip(chains.tolist(), prompts.tolist(), strict=True)
    ]
    declared = np.minimum(made.output_tokens + rng.integers(0, 50, count), 4096)
    shared = dataclasses.replace(made, max_tokens=declared, prefixes=prefixes(16, named))
    return urgent(shared, 3, int(rng.integers(100)))
