"""vLLM's own data-parallel loops, load balancer and scheduler on one virtual clock.

Real are `DPEngineCoreProc.run_busy_loop` and all that it calls of the engine core, and
`DPLBAsyncMPClient.get_core_engine_for_request`. Made here is what lies between processes: the
queues, what the coordinator tells whom, and the agreements of all ranks, which are meetings.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from servecast.primitives.batch import Batch
from servecast.primitives.memory import ledger
from servecast.primitives.wave_cost import WaveCost
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.request import Request
from servecast.simulator.wave_rank import Untimed
from servecast.timewarp.arrivals import OpenLoop
from servecast.timewarp.device import VirtualDevice
from servecast.timewarp.foreign import foreign
from servecast.timewarp.serving import Serving
from servecast.timewarp.shared_clock import SharedClock
from servecast.timewarp.vllm_engine import VllmEngine
from servecast.timewarp.vllm_executor import VirtualExecutor
from tests.timewarp.emulated_cases import Case, admitted

FRONT = 0
"""The front end's loop; the ranks' are numbered behind it."""


class Forward(NamedTuple):
    """A step of all ranks, each with its batch."""

    start_ns: int
    end_ns: int
    batches: tuple[Batch, ...]


class Meeting:
    """All ranks bring something, and go on with what comes of it."""

    def __init__(
        self,
        clock: SharedClock,
        ranks: int,
        settle: Callable[[list[Any]], tuple[Any, int]],
    ) -> None:
        """`settle` says what comes of it, and when the ranks go on."""
        self._clock, self._ranks, self._settle = clock, ranks, settle
        self._brought: dict[int, Any] = {}
        self._settled: list[tuple[Any, int]] = []

    def join(self, rank: int, value: object) -> Any:
        turn = len(self._settled)
        self._brought[rank] = value
        if len(self._brought) == self._ranks:
            brought = [self._brought[each] for each in range(self._ranks)]
            self._brought = {}
            self._settled.append(self._settle(brought))
            for other in range(self._ranks):
                self._clock.wake(1 + other, self._settled[turn][1])
        while len(self._settled) == turn:
            self._clock.doze(None)
        result, at_ns = self._settled[turn]
        self._clock.jump_to(at_ns)
        return result


class Inbox:
    """A rank's input queue."""

    def __init__(self, system: System, rank: int) -> None:
        self._system, self._rank = system, rank
        self._messages: deque[Any] = deque()

    def put_nowait(self, message: object) -> None:
        self._messages.append(message)
        self._system.clock.wake(1 + self._rank, self._system.clock.now_ns())

    def empty(self) -> bool:
        return not self._messages

    def unseen(self) -> int:
        """Requests among the messages."""
        kinds = foreign("vllm.v1.engine").EngineCoreRequestType
        return sum(kind is kinds.ADD for kind, _ in self._messages)

    def get_nowait(self) -> object:
        return self._messages.popleft()

    def get(self, block: bool = True) -> object:
        assert block
        while not self._messages:
            self._system.rest(self._rank)
        return self._messages.popleft()


class Outbox:
    """A rank's output queue: what the front end and the coordinator make of it."""

    def __init__(self, system: System, rank: int) -> None:
        self._system, self._rank = system, rank

    def put_nowait(self, message: tuple[int, Any]) -> None:
        client, outputs = message
        if client == -1:
            self._system.coordinate(self._rank, outputs)
        else:
            self._system.hear(outputs)


@dataclass
class System:
    """The ranks and what joins them."""

    case: Case
    cost: WaveCost
    ranks: int

    def __post_init__(self) -> None:
        self.clock = SharedClock()
        self.forwards: list[Forward] = []
        self.finish_ns: dict[int, int] = {}
        self.first_ns: dict[int, int] = {}
        self.launch = Meeting(self.clock, self.ranks, self._launched)
        self.sync = Meeting(self.clock, self.ranks, self._synced)
        self._free_ns = 0
        self._idle: set[int] = set()
        self._is_over = self._has_sent_all = False
        self._wave, self._coordinator_runs, self._front_runs = 0, False, False
        core_client = foreign("vllm.v1.engine.core_client")
        self._client = core_client.DPLBAsyncMPClient
        self._balancer = SimpleNamespace(
            reqs_in_flight={},
            engine_inflight=Counter(),
            core_engines=list(range(self.ranks)),
            client_count=1,
            eng_start_index=0,
            lb_engines=[],
        )
        self.cores: list[tuple[Any, VllmEngine]] = [_core(self, rank) for rank in range(self.ranks)]

    def run(self) -> None:
        loops: list[Callable[[], None]] = [self._front_end]
        loops += [partial(self._rank_loop, rank) for rank in range(self.ranks)]
        try:
            self.clock.run(loops)
        finally:
            for _, engine in self.cores:
                engine.close()

    def rest(self, rank: int) -> None:
        """A rank waits for a message; the run is over when all do, and nobody is to come."""
        self._idle.add(rank)
        if self._has_sent_all and len(self._idle) == self.ranks:
            self._is_over = True
            for other in range(self.ranks):
                self.clock.wake(1 + other, self.clock.now_ns())
        if self._is_over:
            raise SystemExit
        self.clock.doze(None)
        self._idle.discard(rank)

    def coordinate(self, rank: int, outputs: Any) -> None:
        """`DPCoordinatorProc`, on a message of a rank."""
        if outputs.wave_complete is not None:
            if self._wave <= outputs.wave_complete:
                self._wave = outputs.wave_complete + 1
                self._coordinator_runs = self._front_runs = False
        elif outputs.start_wave is not None:
            wave = outputs.start_wave
            if wave > self._wave or (wave == self._wave and not self._coordinator_runs):
                self._wave, self._coordinator_runs, self._front_runs = wave, True, True
                self._start_wave(rank)

    def hear(self, outputs: Any) -> None:
        """The front end hears of tokens, and of who has finished."""
        for said in outputs.outputs:
            index = int(said.request_id)
            self.first_ns.setdefault(index, self.clock.now_ns())
            if said.finish_reason is not None:
                self.finish_ns[index] = self.clock.now_ns()
        heard = self._client.process_engine_outputs(self._balancer, outputs)
        with suppress(StopIteration):
            heard.send(None)

    def _front_end(self) -> None:
        for request in admitted(self.case).requests():
            self.clock.jump_to(request.arrival_ns)
            self._send(request)
        self._has_sent_all = True
        if len(self._idle) == self.ranks:
            for rank in range(self.ranks):
                self.clock.wake(1 + rank, self.clock.now_ns())

    def _send(self, request: Request) -> None:
        self._balancer.lb_engines = [self._load(rank) for rank in range(self.ranks)]
        asked = SimpleNamespace(
            request_id=f"{request.index:09}", data_parallel_rank=None, pooling_params=None
        )
        rank: int = self._client.get_core_engine_for_request(self._balancer, asked)
        self.cores[rank][1].add(request)
        if not self._front_runs:
            self._front_runs = True
            if not self._coordinator_runs:
                self._start_wave(rank)

    def _load(self, rank: int) -> list[float]:
        core, _ = self.cores[rank]
        running, waiting = core.scheduler.get_request_counts()
        waiting += core.input_queue.unseen()
        return [waiting, running, core.scheduler.get_kv_cache_usage()]

    def wave(self) -> int:
        """What the front end writes on a request."""
        return self._wave

    def _start_wave(self, woken: int) -> None:
        kinds = foreign("vllm.v1.engine").EngineCoreRequestType
        for rank, (core, _) in enumerate(self.cores):
            if rank != woken:
                core.input_queue.put_nowait((kinds.START_DP_WAVE, (self._wave, woken)))

    def _rank_loop(self, rank: int) -> None:
        try:
            self.cores[rank][0].run_busy_loop()
        except SystemExit:
            return

    def _launched(self, batches: list[Batch]) -> tuple[Forward, int]:
        gathered_ns = self.clock.now_ns()
        device_ns, host_ns = self.cost.step(batches)
        start_ns = max(gathered_ns, self._free_ns)
        self._free_ns = start_ns + device_ns + host_ns
        forward = Forward(start_ns, self._free_ns, tuple(batches))
        self.forwards.append(forward)
        return forward, gathered_ns if self.case.deployment.async_scheduling else start_ns

    def _synced(self, unfinished: list[bool]) -> tuple[bool, int]:
        return any(unfinished), self.clock.now_ns()


class RankExecutor(VirtualExecutor):
    """Launches steps that all ranks launch."""

    system: System
    rank: int

    def execute_model(self, scheduled: Any, *words: object, **named: object) -> Any:
        ready = super().execute_model(scheduled, *words, **named)
        if scheduled.num_scheduled_tokens and self._started is not None:
            step, ids = self._started
            forward = self.system.launch.join(self.rank, step.batch)
            step = replace(step, start_ns=forward.start_ns, end_ns=forward.end_ns)
            self._started = step, ids
        return ready

    def execute_dummy_batch(self) -> None:
        self.system.launch.join(self.rank, Batch(()))

    @property
    def is_sleeping(self) -> bool:
        return False


def _core(system: System, rank: int) -> tuple[Any, VllmEngine]:
    """One rank's engine core, and the engine that adds requests to it."""
    deployment = system.case.deployment
    device = VirtualDevice(system.clock, Untimed(system.cost.rank))
    serving = Serving(device, OpenLoop(iter(())))
    options = words(arguments(deployment, ledger(deployment).num_gpu_blocks))
    core_module = foreign("vllm.v1.engine.core")
    plain = core_module.EngineCore
    executor = _executor(system, rank, serving)

    def started(config: Any, _: object, log_stats: bool) -> Any:
        core = object.__new__(core_module.DPEngineCoreProc)
        core.__dict__.update(
            input_queue=Inbox(system, rank),
            output_queue=Outbox(system, rank),
            engine_index=rank,
            dp_rank=rank,
            dp_group=partial(system.sync.join, rank),
            engines_running=False,
            has_coordinator=True,
            publish_dp_lb_stats=False,
            process_input_queue_block=True,
            enable_fault_tolerance=False,
            shutdown_state=core_module.EngineShutdownState.RUNNING,
            prefill_schedule_interval=config.scheduler_config.prefill_schedule_interval,
            dp_sync_interval=config.parallel_config.dp_sync_interval,
            step_counter=0,
            current_wave=0,
            pending_pause=False,
            ignore_start_dp_wave=False,
            eep_scaling_state=None,
            system=system,
        )
        plain.__init__(core, config, executor, log_stats, include_finished_set=True)
        return core

    with patch.object(core_module, "EngineCore", started):
        engine = VllmEngine(deployment, options, serving, stepping=True)
    inside: Any = engine
    core: Any = inside._core
    inside._core = SimpleNamespace(
        preprocess_add_request=core.preprocess_add_request,
        add_request=partial(_queue, core),
        scheduler=core.scheduler,
    )
    return core, engine


def _queue(core: Any, request: Any, _: int) -> None:
    kinds = foreign("vllm.v1.engine").EngineCoreRequestType
    core.input_queue.put_nowait((kinds.ADD, (request, core.system.wave())))


def _executor(system: System, rank: int, serving: Serving) -> type[Any]:
    theirs = foreign("vllm.v1.executor.abstract").Executor
    own = {"serving": serving, "system": system, "rank": rank}
    return type("Executor", (RankExecutor, theirs), own)


def _sync_dp_state(
    meeting: Callable[[bool], bool], *, has_unfinished: bool, pending_pause: bool
) -> tuple[bool, bool]:
    """In place of an all-reduce over the group."""
    return meeting(has_unfinished), pending_pause


def served_by_vllm(case: Case, cost: WaveCost, ranks: int) -> System:
    """vLLM's ranks, when they have served the case's requests."""
    parallel = foreign("vllm.config").ParallelConfig
    with patch.object(parallel, "sync_dp_state", staticmethod(_sync_dp_state)):
        system = System(case, cost, ranks)
        system.run()
    return system


def batches_of(forwards: Sequence[Forward]) -> int:
    """Parts that are not dummies."""
    return sum(bool(batch.groups) for forward in forwards for batch in forward.batches)
