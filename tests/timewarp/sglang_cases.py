"""SGLang emulated at ten milliseconds a step, so that a trace can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.timewarp.mode import Mode
from servecast.timewarp.sglang_options import server_words
from servecast.timewarp.sglang_run import SglangRun, emulate_sglang
from servecast.timewarp.sglang_transfers import Sent
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.emulated_cases import PLAIN, requests

STEP_NS = 10_000_000
LOGGED = Mode(log_batches=True)
"""Each step on its own, and who was computed in it."""
FLOWING = Mode(flow=1.0, log_batches=True)
"""The loop's own CPU time counts."""
NORMAL = "--disable-overlap-schedule"
DEPLOYMENT = dataclasses.replace(
    PLAIN,
    engine="sglang",
    engine_version="0.5.23",
    block_size=1,
    max_num_batched_tokens=512,
    enable_prefix_caching=True,
)


def emulated(
    workload: Workload,
    *options: str,
    num_tokens: int = 20_000,
    deployment: Deployment = DEPLOYMENT,
    cost: StepCost | None = None,
    mode: Mode = LOGGED,
    sent: Sent | None = None,
) -> SglangRun:
    """A run with a KV pool of so many tokens; further options are as on SGLang's command line."""
    words = [*server_words(deployment, num_tokens // deployment.block_size), *options]
    cost = cost or ConstantStepCost(STEP_NS)
    return emulate_sglang(deployment, workload, words, cost, mode, sent=sent)


def declared(workload: Workload) -> Workload:
    """Clients who declare what they will get."""
    return dataclasses.replace(workload, max_tokens=workload.output_tokens.copy())


def sharing(workload: Workload, block_tokens: int, ids: Sequence[Sequence[int]]) -> Workload:
    """The workload with these blocks of text, the outputs named too."""
    known = prefixes(block_tokens, ids, names_outputs=True)
    return dataclasses.replace(workload, prefixes=known)


def pressed() -> Workload:
    """More than a pool of 2,400 tokens holds, of clients whose guesses SGLang trusts too little."""
    return declared(requests([0.02 * i for i in range(30)], [100, 60, 140], [400, 380, 420]))


def first_chunks(run: SglangRun) -> dict[int, tuple[int, int]]:
    """For each request the tokens of its first step, and those found in the cache before."""
    seen: dict[int, tuple[int, int]] = {}
    for batch in run.batches.batches:
        for index, count, past in batch.computed:
            seen.setdefault(index, (count, past))
    return seen


def shapes(run: SglangRun) -> list[tuple[int, tuple[tuple[int, int, int], ...]]]:
    """When each step starts, in steps, and what it computes."""
    return [(batch.start_ns // STEP_NS, batch.computed) for batch in run.batches.batches]


def same(first: SglangRun, second: SglangRun) -> bool:
    """Whether two runs are equal, batch by batch and to the last nanosecond of every request."""
    one, other = first.result.records, second.result.records
    return first.batches.batches == second.batches.batches and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(one)
    )
