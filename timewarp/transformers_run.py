"""transformers under a workload: computed on this CPU, emulated at a step cost, or replayed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import Attention, ModelSpec
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.records import Records, merge
from servecast.simulator.result import Result
from servecast.simulator.token_log import TokenLog
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop, refuse_sessions
from servecast.timewarp.batch_log import LoggedBatch
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.transformers_execution import Computed, Execution, Priced, Replayed
from servecast.timewarp.transformers_loop import GenerationLoop
from servecast.timewarp.transformers_models import SmallLlama, hollow_model, manager_of
from servecast.timewarp.transformers_options import TransformersOptions
from servecast.timewarp.transformers_queue import ArrivalQueue
from servecast.timewarp.transformers_seam import torch
from servecast.timewarp.transformers_steps import Step
from servecast.timewarp.transformers_texts import Texts, named_texts, small_texts
from servecast.traces.workload import Workload


@dataclass(frozen=True, slots=True)
class TransformersRun:
    """What a run of transformers' loop did; times count from its first look into the queue."""

    workload: Workload
    records: Records
    steps: Sequence[Step]
    log: TokenLog
    rejected: NDArray[np.int64]
    truncated: int
    num_blocks: int
    peak_blocks: int

    def batches(self) -> list[LoggedBatch]:
        """The steps as any emulated engine's are laid beside another's."""
        return [
            LoggedBatch(
                step.start_ns,
                step.end_ns,
                tuple((part.request, part.new_tokens, part.past_tokens) for part in step.parts),
                step.preempted,
            )
            for step in self.steps
        ]

    def result(self, deployment: Deployment, cost: StepCost) -> Result:
        """The run as a result like any other's; `cost` is what it was priced with."""
        return Result(
            deployment=deployment,
            workload=self.workload.name,
            records=self.records,
            logs=[self.log],
            cost=cost,
            arrived=len(self.workload),
            rejected=self.rejected,
            truncated=self.truncated,
            num_blocks=self.num_blocks,
            peak_blocks=self.peak_blocks,
            is_open_loop=self.workload.concurrency is None,
            classes=self.workload.classes,
        )


def compute_transformers(
    small: SmallLlama, options: TransformersOptions, workload: Workload, *, seed: int = 0
) -> TransformersRun:
    """The workload through the real engine with a real model, on one thread of this CPU.

    Times are of the engine's thread's CPU clock. What PyTorch does at first calls is done before.
    InputError where the extra `transformers` is not installed.
    """
    texts = small_texts(named_texts(options.page_size), small.vocab)
    model = small.build(seed)
    with _one_thread():
        for load in (_warm_up(workload, options), workload):
            run = serve_transformers(model, options, load, small.max_model_len, Computed(), texts)
    return run


def emulate_transformers(
    options: TransformersOptions,
    workload: Workload,
    cost: StepCost,
    *,
    model: ModelSpec,
    texts: Texts | None = None,
    clock: VirtualClock | None = None,
) -> TransformersRun:
    """The workload through the real engine, whose model is replaced by what steps cost.

    The cache is one of the right number of blocks that weigh nothing. Without `texts` they begin
    alike as the workload's prefixes say. A frozen clock is made where none is given. Raises
    UnsupportedError for models whose layers do not cache alike, InputError where a cost is no
    duration.
    """
    for group in model.layers:
        if not isinstance(group.mixer, Attention) or group.mixer.window is not None:
            raise UnsupportedError(
                f"transformers' loop is emulated for full attention; `{model.name}` has other "
                "layers",
                hint="simulate it instead",
            )
    execution = Priced(cost, clock)
    texts = texts or named_texts(options.page_size)
    return serve_transformers(
        hollow_model(), options, workload, model.max_model_len, execution, texts
    )


def replay_transformers(
    run: TransformersRun, options: TransformersOptions, max_model_len: int
) -> TransformersRun:
    """The same requests at the step durations of `run`: what is left differs by the loop alone."""
    execution = Replayed(run.steps)
    return serve_transformers(
        hollow_model(),
        options,
        run.workload,
        max_model_len,
        execution,
        named_texts(options.page_size),
    )


def serve_transformers(
    model: object,
    options: TransformersOptions,
    workload: Workload,
    max_model_len: int,
    execution: Execution,
    texts: Texts,
) -> TransformersRun:
    """The workload through the real engine around `model`, each step passing by `execution`."""
    refuse_sessions(workload)
    prefixes = workload.prefixes if options.allow_block_sharing else None
    if prefixes is not None:
        prefixes = prefixes.in_blocks_of(options.page_size)
    admission = Admission(workload, max_model_len, prefixes)
    requests = admission.requests()
    arrivals: Arrivals = OpenLoop(requests)
    if workload.concurrency is not None:
        arrivals = ClosedLoop(requests, workload.concurrency, workload.think_ns)
    queue = ArrivalQueue(execution.clock, arrivals)
    loop = GenerationLoop(manager_of(model, options), queue, execution, texts)
    loop.run()
    return TransformersRun(
        workload=workload,
        records=merge([loop.log.recorder]),
        steps=loop.log.steps,
        log=loop.log.run_log,
        rejected=admission.rejected,
        truncated=admission.truncated,
        num_blocks=options.num_blocks,
        peak_blocks=loop.peak_blocks,
    )


def _warm_up(workload: Workload, options: TransformersOptions) -> Workload:
    """Three requests of the workload's lengths, at once."""
    few = min(3, len(workload))
    longest = options.num_blocks * options.page_size // 4
    prompts = np.minimum(workload.prompt_tokens[:few], longest)
    four = np.full(few, 4, dtype=np.int64)
    return Workload("warm-up", np.zeros(few, dtype=np.int64), prompts, four, four)


@contextmanager
def _one_thread() -> Generator[None]:
    """PyTorch computes in the calling thread alone, whose CPU clock then sees all of it."""
    package = torch()
    threads = package.get_num_threads()
    package.set_num_threads(1)
    try:
        yield
    finally:
        package.set_num_threads(threads)
