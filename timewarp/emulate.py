"""The emulate rung: a deployment under a workload, by the real engine, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.step_cost import StepCost
from servecast.simulator.admission import Admission
from servecast.simulator.records import merge
from servecast.simulator.result import Result
from servecast.simulator.router import ROUTERS
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop, in_turn
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.driver import Driver
from servecast.timewarp.installation import require
from servecast.timewarp.journal import Journal
from servecast.timewarp.mode import Mode
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_credits import CreditBrokenError
from servecast.timewarp.vllm_engine import VllmEngine
from servecast.timewarp.warped import warped
from servecast.traces.workload import Workload

DEFAULT = Mode()


@dataclass(frozen=True, slots=True)
class Emulation:
    """One run of a real engine: what it reached, and what it took here."""

    result: Result
    release: str
    """Of the engine that ran."""
    flow: float | None
    """What a nanosecond of its CPU time counted; None where the clock stood still meanwhile."""
    stepping: bool
    """Whether some replica's scheduler was run for each step, and not for many at once."""
    steps: int
    cpu_s: float
    """CPU time of the run, the engine's start-up not counted."""
    startup_cpu_s: float
    batches: Sequence[BatchLog]
    """One a replica, where they were asked for."""
    cache: str = ""
    """Whose KV cache it worked with, where that is a question."""

    @property
    def speedup(self) -> float:
        """Times faster than real: virtual seconds for each of CPU time."""
        return self.result.duration_s / self.cpu_s if self.cpu_s else float("inf")


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is run, and how."""

    deployment: Deployment
    workload: Workload
    options: Sequence[str]
    stages: Sequence[StepCost]
    mode: Mode


@dataclass(frozen=True, slots=True)
class _Replica:
    """What is kept of a replica that has run."""

    journal: Journal
    num_blocks: int
    stepping: bool
    cpu_s: float
    startup_cpu_s: float
    cache: str


def emulate(
    deployment: Deployment,
    workload: Workload,
    options: Sequence[str],
    cost: StepCost,
    mode: Mode = DEFAULT,
    *,
    later_stages: Sequence[StepCost] = (),
) -> Emulation:
    """Run `workload` through the real engine, started with `options` (of its server).

    `cost` is that of the first stage of a pipeline, or of all there is.

    Raises InputError where no request fits the model length or the engine refuses the options,
    UnsupportedError for what is not emulated or not installed, and ServecastError where the engine
    fails.
    """
    release = require(deployment.engine)
    _refuse(deployment, workload)
    _refuse_drafts(deployment, mode)
    stages = [mode.drafting.priced(cost) if mode.drafting else cost, *later_stages]
    setting = _Setting(deployment, workload, options, stages, mode)
    numbers = range(deployment.replicas)
    logs = [BatchLog(number) for number in numbers] if mode.log_batches else []
    stepping = mode.stepping or mode.log_batches or not _may_skip(setting)
    replicas = [
        _replica(setting, number, logs[number] if logs else None, stepping=stepping)
        for number in numbers
    ]
    return Emulation(
        _result(setting, replicas),
        release,
        mode.flow,
        stepping=any(replica.stepping for replica in replicas),
        steps=sum(replica.journal.steps for replica in replicas),
        cpu_s=sum(replica.cpu_s for replica in replicas),
        startup_cpu_s=sum(replica.startup_cpu_s for replica in replicas),
        batches=logs,
        cache=replicas[0].cache,
    )


def _may_skip(setting: _Setting) -> bool:
    """Whether a pass may stand for many steps.

    Not where the engine's CPU time counts, where the cost of a step depends on who is in it, where
    several batches are under way at once, where it is not known how many tokens a step brings, or
    where layers keep different tokens.
    """
    (cost, *later_stages), mode = setting.stages, setting.mode
    is_plain = mode.flow is None and mode.drafting is None
    is_plain = is_plain and ledger(setting.deployment).geometry.is_uniform
    return is_plain and not cost.needs_spread and not later_stages


def _replica(setting: _Setting, number: int, log: BatchLog | None, *, stepping: bool) -> _Replica:
    if not stepping:
        try:
            return _run(setting, number, log, stepping=False)
        except CreditBrokenError:
            pass
    return _run(setting, number, log, stepping=True)


def _run(setting: _Setting, number: int, log: BatchLog | None, *, stepping: bool) -> _Replica:
    begun_s = time.process_time()
    clock, drafting = VirtualClock(scale=setting.mode.flow), setting.mode.drafting
    device = VirtualDevice(clock, setting.stages[0], setting.stages[1:], drafting)
    serving = Serving(device, _arrivals(setting, number))
    engine = VllmEngine(
        setting.deployment, setting.options, serving, stepping=stepping, speculation=drafting
    )
    journal = Journal(number, log, at_once=drafting is not None)
    started_s = time.process_time()
    try:
        with warped(clock, engine.name):
            Driver(engine, serving, journal).run()
    finally:
        engine.close()
    ended_s = time.process_time()
    num_blocks = engine.num_blocks
    spent_s = ended_s - started_s, started_s - begun_s
    return _Replica(journal, num_blocks, stepping, *spent_s, str(serving.cache))


def _arrivals(setting: _Setting, number: int) -> Arrivals:
    workload, deployment = setting.workload, setting.deployment
    prefixes = workload.prefixes if deployment.enable_prefix_caching else None
    if prefixes is not None:
        prefixes = prefixes.in_blocks_of(deployment.block_size)
    requests = Admission(workload, deployment.max_model_len, prefixes).requests()
    if workload.concurrency is not None:
        return ClosedLoop(requests, workload.concurrency, workload.think_ns)
    return OpenLoop(in_turn(requests, number, deployment.replicas))


def _result(setting: _Setting, replicas: Sequence[_Replica]) -> Result:
    workload, deployment = setting.workload, setting.deployment
    admission = Admission(workload, deployment.max_model_len)
    return Result(
        deployment=deployment,
        workload=workload.name,
        records=merge([replica.journal.recorder for replica in replicas]),
        logs=[replica.journal.log for replica in replicas],
        cost=setting.stages[0],
        arrived=len(workload),
        rejected=admission.rejected,
        truncated=admission.truncated,
        num_blocks=replicas[0].num_blocks,
        peak_blocks=max(replica.journal.peak_blocks for replica in replicas),
        is_open_loop=workload.concurrency is None,
    )


def _refuse_drafts(deployment: Deployment, mode: Mode) -> None:
    """Raise UnsupportedError where nothing says which stage drafts."""
    if mode.drafting is not None and deployment.pipeline_parallel_size > 1:
        raise UnsupportedError(
            "speculative decoding over pipeline stages is not emulated yet",
            hint="set pipeline_parallel_size to 1, or leave the speculation out",
        )


def _refuse(deployment: Deployment, workload: Workload) -> None:
    """Raise UnsupportedError, by name, for what would need several engines on one clock."""
    if deployment.replicas == 1:
        return
    if not ROUTERS[deployment.routing].is_static:
        raise UnsupportedError(
            f"routing {deployment.routing} over {deployment.replicas} replicas is not emulated yet",
            hint="set replicas to 1, or routing to round_robin",
        )
    if workload.concurrency is not None:
        raise UnsupportedError(
            f"a closed loop over {deployment.replicas} replicas is not emulated yet",
            hint="set replicas to 1, or give the workload a rate in place of a concurrency",
        )
