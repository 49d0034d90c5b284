"""Our scheduler of transformers and transformers' own take the same steps, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from servecast.primitives.policy import TransformersSchedulerType
from servecast.simulator.admission import Admission
from servecast.simulator.engine import Engine
from servecast.simulator.records import merge
from servecast.simulator.request import Request
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.transformers_scheduler import TransformersScheduler
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_run import emulate_transformers
from servecast.traces.prefixes import prefixes
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.timewarp.transformers_cases import STEP_NS, TINY, cramped, random

pytestmark = pytest.mark.engine(name="transformers")

Note = Callable[[str, object], None]
Computed = dict[int, tuple[int, int]]
"""New and past tokens by request."""
SCHEDULERS: tuple[TransformersSchedulerType, ...] = ("fifo", "prefill_first")
LONGEST = 320


class Recorded(TransformersScheduler):
    """Keeps what each pass has decided: who is computed, and who lost its blocks."""

    def __init__(self, options: TransformersOptions) -> None:
        limits = SchedulerLimits(
            max_num_seqs=options.max_requests_per_batch,
            max_num_batched_tokens=options.max_batch_tokens,
            max_model_len=LONGEST,
            num_blocks=options.num_blocks,
            block_size=options.page_size,
            enable_prefix_caching=options.allow_block_sharing,
        )
        super().__init__(limits, options.scheduler_type, options.safety_margin)
        self.steps: list[tuple[Computed, list[int]]] = []

    def schedule(self) -> tuple[list[Chunk], list[Request]]:
        chunks, left = super().schedule()
        computed = {chunk.request.index: (chunk.new_tokens, chunk.past_tokens) for chunk in chunks}
        still = self._aside.keys() | self._partials.keys()
        for request in self.running:
            if request not in still and request.index not in computed:
                computed[request.index] = (1, request.base + self.group.steps)
        lost = [
            request.index
            for request in left
            if request not in self.running and request.scheduled_ns is not None
        ]
        self.steps.append((computed, lost))
        return chunks, left


def simulated(options: TransformersOptions, workload: Workload, *, stepping: bool) -> Engine:
    engine = Engine(
        Recorded(options).limits,
        ConstantStepCost(STEP_NS),
        policy=lambda _: Recorded(options),
        stepping=stepping,
    )
    prefixes = workload.prefixes and workload.prefixes.in_blocks_of(options.page_size)
    for request in Admission(workload, LONGEST, prefixes).requests():
        engine.advance(request.arrival_ns)
        engine.submit(request, request.arrival_ns)
    engine.advance(None)
    return engine


CONFIGS = [
    cramped(scheduler, blocks=blocks, sharing=sharing)
    for scheduler, blocks, sharing in product(SCHEDULERS, (22, 60), (False, True))
] + [
    replace(cramped("fifo"), safety_margin=0.5),
    replace(cramped("prefill_first", blocks=40), safety_margin=0.3, allow_block_sharing=True),
    replace(cramped("fifo", blocks=40), max_batch_tokens=16, max_requests_per_batch=16),
    replace(cramped("prefill_first", blocks=80), page_size=4, max_batch_tokens=9),
]


ALIKE = [
    cramped(scheduler, blocks=blocks, sharing=True)
    for scheduler, blocks in product(SCHEDULERS, (22, 32, 60, 200))
] + [
    replace(cramped("fifo", blocks=150, sharing=True), page_size=4, safety_margin=0.4),
    replace(cramped("prefill_first", blocks=30, sharing=True), max_batch_tokens=24),
    cramped("fifo", blocks=40),
]


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_both_take_the_same_steps(options: TransformersOptions, record_property: Note) -> None:
    assert_same_steps(options, random(250, 12.0, seed=23), record_property)


@pytest.mark.parametrize("options", ALIKE, ids=str)
def test_prompts_that_begin_alike_share_the_same_blocks(
    options: TransformersOptions, record_property: Note
) -> None:
    found = assert_same_steps(options, alike(random(320, 12.0, seed=29)), record_property)
    assert (found > 0) is options.allow_block_sharing


def alike(workload: Workload) -> Workload:
    """Prompts of a few families, which part at several places; some go on as outputs did."""
    rng = np.random.default_rng(31)
    tokens = workload.prompt_tokens + rng.integers(0, 2, len(workload)) * workload.output_tokens
    chains: list[list[int]] = []
    for blocks in tokens // 16:
        family, parts = int(rng.integers(0, 6)), int(rng.integers(0, 5))
        chains.append([100 * family + at + 10_000 * parts * (at >= 3) for at in range(blocks)])
    return replace(workload, prefixes=prefixes(16, chains, names_outputs=True))


def assert_same_steps(options: TransformersOptions, workload: Workload, note: Note) -> int:
    """Step for step and time for time; how many prompt tokens were found in the cache."""
    real = emulate_transformers(
        options,
        workload,
        ConstantStepCost(STEP_NS),
        model=replace(TINY, max_model_len=LONGEST).spec,
    )
    stepping = simulated(options, workload, stepping=True)
    scheduler = stepping.scheduler
    assert isinstance(scheduler, Recorded)
    theirs = [
        ({request: (new, past) for request, new, past in batch.computed}, list(batch.preempted))
        for batch in real.batches()
    ]
    note("batches", len(theirs))
    assert len(theirs) >= 2000
    for place, (ours, true) in enumerate(zip(scheduler.steps, theirs, strict=True)):
        assert ours == true, place
    for engine in (stepping, simulated(options, workload, stepping=False)):
        found = merge([engine.recorder])
        assert found.first_token_ns.tolist() == real.records.first_token_ns.tolist()
        assert found.finish_ns.tolist() == real.records.finish_ns.tolist()
        assert found.preemptions.tolist() == real.records.preemptions.tolist()
        assert found.cached_tokens.tolist() == real.records.cached_tokens.tolist()
    return int(real.records.cached_tokens.sum())
