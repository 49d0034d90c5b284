"""One rank of a data-parallel vLLM with experts, in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple

from servecast.primitives.batch import Batch, StepTime
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.step_cost import StepCost
from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_device import DeviceStep
from servecast.simulator.stepped_engine import SteppedEngine
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.token_log import TokenLog

DP_SYNC_INTERVAL = 16
"""Steps between two agreements of all ranks on whether anybody has anything left to do."""


class Stop(Enum):
    """Where a rank's loop waits for others."""

    IDLE = auto()
    """For a message: there is no work."""
    LAUNCH = auto()
    """For all ranks to launch their parts of a step."""
    SYNC = auto()
    """For all ranks to say whether they have requests left."""


class Moment(NamedTuple):
    """Where a rank's loop waits for a time."""

    at_ns: int
    looks: bool
    """It looks at who has come by then; else a step is done."""


Wait = Stop | Moment


class Untimed:
    """The cost of a rank's steps that take no time on their own: the wave's do."""

    def __init__(self, cost: StepCost) -> None:
        self._cost = cost

    @property
    def needs_spread(self) -> bool:
        """Whether buckets of contexts matter."""
        return self._cost.needs_spread

    def spread(self, contexts: Sequence[int]) -> int:
        """The bucket of these contexts."""
        return self._cost.spread(contexts)

    def step(self, batch: Batch) -> StepTime:
        """Nothing."""
        return StepTime(0, 0)

    def decode_run(self, sequences: int, spread: int = 0) -> DecodeRun:
        """What a rank computes alone."""
        return self._cost.decode_run(sequences, spread)


class WaveRank(SteppedEngine):
    """An engine core whose steps are those of all ranks: `DPEngineCoreProc` of vLLM 0.32.0.

    Its loop is a generator that says what it waits for; whoever has all ranks goes on with it.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        cost: StepCost,
        options: SteppedOptions,
        log: TokenLog,
        recorder: Recorder,
    ) -> None:
        """`log` and `recorder` are those of all ranks."""
        super().__init__(limits, [Untimed(cost)], options=options)
        self.log, self.recorder = log, recorder
        self.inbox: deque[tuple[int, Request | None]] = deque()
        """What it has not looked at, with the time: requests, or None to take part in a wave."""
        self.engines_running = False
        """Whether a wave is on: it takes part in every step, with a dummy where it has nothing."""
        self.step_counter = 0
        self.has_unfinished = False
        """What it says when all ranks agree."""
        self.launched: DeviceStep | None = None
        """Its part of the step that is launched; None for a dummy."""
        self._begun: list[Request] = []
        """Whose prompts begin in it."""
        self._loop = self._run_busy_loop()
        self.wait: Wait = next(self._loop)

    @property
    def outstanding(self) -> int:
        """Requests sent to it whose last token is not out yet."""
        return self.unfinished + self._unseen

    @property
    def waiting(self) -> int:
        """Requests that it has not begun, or begins again."""
        return super().waiting + self._unseen

    @property
    def has_requests(self) -> bool:
        """Whether anybody that it has looked at has tokens to come."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    @property
    def _unseen(self) -> int:
        return sum(request is not None for _, request in self.inbox)

    @property
    def _has_work(self) -> bool:
        return self.engines_running or self.scheduler.has_requests or bool(self._queue)

    def receive(self, request: Request | None, now_ns: int) -> None:
        """A request, or word that a wave begins, comes at `now_ns`."""
        self.inbox.append((now_ns, request))
        if self.wait is Stop.IDLE:
            self.go_on()

    def launch(self, start_ns: int, end_ns: int, goes_on_ns: int) -> None:
        """All have launched the step, which is on the device from `start_ns` to `end_ns`."""
        self.now_ns = goes_on_ns
        if self.launched is not None:
            self.launched = self.launched._replace(start_ns=start_ns, end_ns=end_ns)
            for request in self._begun:
                request.scheduled_ns = start_ns
        self.go_on()

    def agree(self, now_ns: int, *, engines_running: bool) -> None:
        """All have said by `now_ns` whether they have requests left: whether the wave goes on."""
        self.now_ns, self.engines_running = now_ns, engines_running
        self.go_on()

    def go_on(self) -> None:
        """What it waited for has happened: go on with its loop to where it waits again."""
        self.wait = next(self._loop)

    def _run_busy_loop(self) -> Iterator[Wait]:
        while True:
            if not self._has_work:
                if not self.inbox:
                    yield Stop.IDLE
                self.now_ns = max(self.now_ns, self.inbox[0][0])
            yield Moment(self.now_ns, looks=True)
            self._process_input_queue()
            executed = yield from self._process_engine_step()
            self.has_unfinished = self.has_requests
            if not executed:
                if not self.has_unfinished and not self.engines_running:
                    continue
                self.launched = None
                yield Stop.LAUNCH
            yield from self._has_global_unfinished_reqs()

    def _process_input_queue(self) -> None:
        while self.inbox and self.inbox[0][0] <= self.now_ns:
            at_ns, request = self.inbox.popleft()
            if request is None:
                self.engines_running = True
            else:
                self.submit(request, at_ns)

    def _schedule(self) -> DeviceStep | None:
        decided = self.scheduler.schedule()
        if not decided.num_scheduled_tokens:
            return None
        placed = [each.request for each in decided.placed]
        self._begun = [request for request in placed if request.scheduled_ns is None]
        return self.device.run(decided, self.now_ns)

    def _process_engine_step(self) -> Generator[Wait, None, bool]:
        """Schedule a batch if there is anybody, and wait for the oldest if no more go beside it;
        whether a batch was launched."""
        scheduler, queue, executed = self.scheduler, self._queue, False
        if scheduler.has_requests:
            self.launched = self._schedule()
            executed = self.launched is not None
            if executed:
                yield Stop.LAUNCH
            queue.append(self.launched)
            if len(queue) < self._queue_size and (executed or scheduler.has_requests):
                return executed
        elif not queue:
            return False
        step = queue[0]
        if step is None:
            queue.popleft()
        else:
            yield Moment(step.end_ns, looks=False)
            self._take(step)
        return executed

    def _has_global_unfinished_reqs(self) -> Iterator[Wait]:
        self.step_counter += 1
        self.engines_running = True
        if self.step_counter == 1 or self.step_counter % DP_SYNC_INTERVAL == 0:
            yield Stop.SYNC
        if not self.engines_running:
            self.step_counter = 0
