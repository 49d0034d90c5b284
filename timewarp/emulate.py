"""The emulate rung: a deployment under a workload, by the real engine, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servecast.errors import UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.step_cost import StepCost
from servecast.simulator.fleet.routers import router_of
from servecast.simulator.result import Result
from servecast.timewarp.arrivals import Arrivals, ClosedLoop, OpenLoop, in_turn, refuse_sessions
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.dispatcher import Dispatcher
from servecast.timewarp.installation import require
from servecast.timewarp.mode import Mode
from servecast.timewarp.shared_clock import SharedClock
from servecast.timewarp.vllm_credits import CreditBrokenError
from servecast.timewarp.vllm_replica import Node, VllmReplica
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


@dataclass(slots=True)
class _CpuTime:
    """CPU seconds of this process."""

    starting_s: float = 0.0
    running_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is run, and how."""

    node: Node
    workload: Workload
    mode: Mode
    logs: Sequence[BatchLog]
    """One a replica, where they were asked for."""
    spent: _CpuTime

    def clients(self, number: int = 0, replicas: int = 1) -> Arrivals:
        """All clients, or those that round robin brings to one of several replicas."""
        requests, workload = self.node.admission(self.workload).requests(), self.workload
        if workload.concurrency is not None:
            return ClosedLoop(requests, workload.concurrency, workload.think_ns)
        return OpenLoop(in_turn(requests, number, replicas))

    def replica(
        self, clock: VirtualClock, arrivals: Arrivals, number: int, *, stepping: bool
    ) -> VllmReplica:
        """One of the replicas, started."""
        log = self.logs[number] if self.logs else None
        return VllmReplica(self.node, clock, arrivals, number, log=log, stepping=stepping)


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

    `cost` is that of the first stage of a pipeline, or of all there is, drafts included.

    Raises InputError where no request fits the model length or the engine refuses the options,
    UnsupportedError for what is not emulated or not installed, and ServecastError where the engine
    fails.
    """
    release = require(deployment.engine)
    _refuse(deployment, workload, mode)
    node = Node(deployment, options, cost, later_stages)
    numbers = range(deployment.replicas)
    logs = [BatchLog(number) for number in numbers] if mode.log_batches else []
    setting = _Setting(node, workload, mode, logs, _CpuTime())
    if _share_a_clock(deployment, workload):
        replicas = _together(setting)
    else:
        stepping = mode.stepping or mode.log_batches or not _may_skip(node, mode)
        replicas = [_alone(setting, number, stepping=stepping) for number in numbers]
    journals = [replica.journal for replica in replicas]
    return Emulation(
        node.result(workload, journals, replicas[0].num_blocks),
        release,
        mode.flow,
        stepping=any(replica.stepping for replica in replicas),
        steps=sum(journal.steps for journal in journals),
        cpu_s=setting.spent.running_s,
        startup_cpu_s=setting.spent.starting_s,
        batches=logs,
        cache=replicas[0].cache,
    )


def _may_skip(node: Node, mode: Mode) -> bool:
    """Whether a pass may stand for many steps.

    Not where the engine's CPU time counts, where the cost of a step depends on who is in it, where
    several batches are under way at once, where it is not known how many tokens a step brings, or
    where layers keep different tokens.
    """
    is_plain = mode.flow is None and node.deployment.drafting is None
    is_plain = is_plain and ledger(node.deployment).geometry.is_uniform
    return is_plain and not node.cost.needs_spread and not node.later_stages


def _alone(setting: _Setting, number: int, *, stepping: bool) -> VllmReplica:
    """A replica that has served its share of the requests, on a clock of its own."""
    begun_s = time.process_time()
    clock = VirtualClock(scale=setting.mode.flow)
    arrivals = setting.clients(number, setting.node.deployment.replicas)
    replica = setting.replica(clock, arrivals, number, stepping=stepping)
    try:
        _serve(setting, clock, [replica], replica.run, begun_s)
    except CreditBrokenError:
        return _alone(setting, number, stepping=True)
    return replica


def _together(setting: _Setting) -> list[VllmReplica]:
    """All replicas on one clock, behind one router. Each takes every step by itself: what another
    one does at any moment may bring it a request."""
    begun_s = time.process_time()
    clock, deployment = SharedClock(), setting.node.deployment
    router = router_of(
        deployment.routing, clock.now_ns, deployment.routing_options, deployment.block_size
    )
    clients = setting.clients()
    dispatcher = Dispatcher(
        clock, clients, router, deployment.replicas, places=deployment.max_num_seqs
    )
    replicas = [
        setting.replica(clock, lane, lane.number, stepping=True) for lane in dispatcher.lanes
    ]
    for lane, replica in zip(dispatcher.lanes, replicas, strict=True):
        lane.gauges = replica.gauges

    def loop(replica: VllmReplica) -> Callable[[], None]:
        def serve() -> None:
            replica.run()
            while not dispatcher.is_over:
                clock.doze(None)
                replica.run()

        return serve

    _serve(setting, clock, replicas, lambda: clock.run([*map(loop, replicas)]), begun_s)
    return replicas


def _serve(
    setting: _Setting,
    clock: VirtualClock,
    replicas: Sequence[VllmReplica],
    run: Callable[[], None],
    begun_s: float,
) -> None:
    """Run replicas that have been started since `begun_s` of CPU time, and stop them."""
    started_s = time.process_time()
    setting.spent.starting_s += started_s - begun_s
    try:
        with warped(clock, "vllm"):
            run()
    finally:
        for replica in replicas:
            replica.close()
    setting.spent.running_s += time.process_time() - started_s


def _share_a_clock(deployment: Deployment, workload: Workload) -> bool:
    """Whether what one replica does decides what another one gets."""
    is_decided = deployment.routing == "round_robin" and workload.concurrency is None
    return deployment.replicas > 1 and not is_decided


def _refuse(deployment: Deployment, workload: Workload, mode: Mode) -> None:
    """Raise UnsupportedError, by name, for what is not emulated."""
    refuse_sessions(workload)
    if deployment.drafting is not None and deployment.pipeline_parallel_size > 1:
        raise UnsupportedError(
            "speculative decoding over pipeline stages is not emulated yet",
            hint="set pipeline_parallel_size to 1, or leave the speculation out",
        )
    if deployment.routing == "kv_overlap" and deployment.replicas > 1:
        raise UnsupportedError(
            "routing by kv_overlap is not emulated yet: it takes account of who has ended",
            hint="run it by `servecast simulate`, or take prefix_affinity",
        )
    if deployment.gateway is not None:
        raise UnsupportedError(
            "a gateway before emulated engines is not there yet",
            hint="run it by `servecast simulate`, or leave `gateway` out",
        )
    if mode.flow is not None and _share_a_clock(deployment, workload):
        raise UnsupportedError(
            f"{deployment.replicas} replicas that share a queue or its clients take turns on "
            "one clock, so their CPU time cannot count",
            hint="leave --flow out, or set replicas to 1",
        )
