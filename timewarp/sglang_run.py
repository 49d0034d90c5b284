"""SGLang under a workload: priced by a step cost, or at the step durations of another run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.errors import ServecastError
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.records import merge
from servecast.simulator.result import Result
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop, refuse_sessions
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.journal import Journal
from servecast.timewarp.mode import Mode
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_engine import SglangEngine
from servecast.timewarp.sglang_transfers import Sent
from servecast.timewarp.sglang_turns import Turns
from servecast.traces.workload import Workload

DEFAULT = Mode()
SPARE_TOKENS = 2
"""Of the model length, that SGLang gives to nobody: it ends requests two tokens before it."""


@dataclass(frozen=True, slots=True)
class SglangRun:
    """One run of one replica of SGLang: what it reached, step by step, and what it took here."""

    result: Result
    batches: BatchLog
    """Empty unless they were asked for."""
    stepping: bool
    """Whether the scheduler was run for each step, and not for many at once."""
    turns_ns: Sequence[int]
    """For each step, when SGLang looked for requests after it: its tokens are out then."""
    cpu_s: float
    """CPU time of the run, the engine's start-up not counted."""
    startup_cpu_s: float

    @property
    def steps(self) -> int:
        """How many there were."""
        return len(self.turns_ns)


def emulate_sglang(
    deployment: Deployment,
    workload: Workload,
    options: Sequence[str],
    cost: StepCost,
    mode: Mode = DEFAULT,
    *,
    sent: Sent | None = None,
) -> SglangRun:
    """Run `workload` through SGLang's own event loop, started with `options` (of its server).

    Where prompts are `sent`, it is the server that decodes of a disaggregated pair.

    Raises InputError where no request fits the model length or SGLang refuses the options,
    UnsupportedError for what is not emulated or not installed, and ServecastError where the engine
    fails.
    """
    refuse_sessions(workload)
    admission = _admission(deployment, workload)
    clock = VirtualClock(scale=mode.flow)
    device = VirtualDevice(clock, cost, speculation=deployment.drafting)
    serving = Serving(device, _arrivals(admission, workload))
    batches = BatchLog(0)
    drafts = deployment.drafting is not None
    journal = Journal(0, batches if mode.log_batches else None, at_once=drafts)
    turns = Turns(serving, journal, deployment.block_size, are_sent=sent is not None)
    stepping = mode.stepping or mode.log_batches or device.clock.is_flowing
    begun_s = time.process_time()
    engine = SglangEngine(deployment, options, serving, turns, stepping=stepping, sent=sent)
    started_s = time.process_time()
    try:
        _run(engine, device.clock)
        cpu_s = time.process_time() - started_s
    finally:
        engine.close()
    rejected = np.union1d(admission.rejected, np.array(turns.rejected, dtype=np.int64))
    result = _result(deployment, workload, journal, cost, rejected, engine.num_blocks)
    return SglangRun(result, batches, engine.stepping, journal.ends_ns, cpu_s, started_s - begun_s)


def _admission(deployment: Deployment, workload: Workload) -> Admission:
    prefixes = workload.prefixes
    if prefixes is not None:
        prefixes = prefixes.in_blocks_of(deployment.block_size)
    return Admission(workload, deployment.max_model_len - SPARE_TOKENS, prefixes)


def _result(
    deployment: Deployment,
    workload: Workload,
    journal: Journal,
    cost: StepCost,
    rejected: NDArray[np.int64],
    num_blocks: int,
) -> Result:
    records = merge([journal.recorder])
    return Result(
        deployment=deployment,
        workload=workload.name,
        records=records,
        logs=[journal.log],
        cost=cost,
        arrived=len(workload),
        rejected=rejected,
        truncated=int((records.output_tokens < workload.output_tokens[records.index]).sum()),
        num_blocks=num_blocks,
        peak_blocks=journal.peak_blocks,
        is_open_loop=workload.concurrency is None,
        classes=workload.classes,
    )


def _run(engine: SglangEngine, clock: VirtualClock) -> None:
    try:
        engine.run()
    except ServecastError:
        raise
    except Exception as error:
        raise ServecastError(
            f"SGLang raised {type(error).__name__} at {clock.now_ns() / 1e9:.6f} s: {error}"
        ) from error


def _arrivals(admission: Admission, workload: Workload) -> Arrivals:
    if workload.concurrency is not None:
        return ClosedLoop(admission.requests(), workload.concurrency, workload.think_ns)
    return OpenLoop(admission.requests())
