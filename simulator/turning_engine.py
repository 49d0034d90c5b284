"""One replica that takes every step, and may have several of them under way."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Protocol

from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.scheduler_pass import SchedulerPass
from servecast.simulator.stepped_device import DeviceStep, SteppedDevice
from servecast.simulator.stepped_request import SteppedRequest
from servecast.simulator.token_log import TokenLog


class StepScheduler(Protocol):
    """What decides the steps."""

    limits: SchedulerLimits

    @property
    def has_requests(self) -> bool:
        """Whether there is anybody to decide about."""
        ...

    def add_request(self, request: SteppedRequest) -> None:
        """Queue a request."""
        ...

    def schedule(self) -> SchedulerPass:
        """One pass: who is computed in the next step, how many tokens of each."""
        ...

    def update_from_output(
        self, decided: SchedulerPass, said: Sequence[int], ended: Sequence[SteppedRequest]
    ) -> list[tuple[SteppedRequest, int]]:
        """Take in what came out of the oldest step; whose tokens these are news of."""
        ...


class Pool(Protocol):
    """The KV blocks that requests hold."""

    @property
    def used(self) -> int:
        """At present."""
        ...

    @property
    def peak_used(self) -> int:
        """At most so far."""
        ...


class TurningEngine(ABC):
    """Takes the turns of an engine's own loop: as long as the queue of batches has room it
    schedules another one, an empty one too; else it waits for the oldest.

    Nobody can arrive between two turns that do not wait.
    """

    def __init__(
        self,
        turns: StepScheduler,
        pool: Pool,
        device: SteppedDevice,
        replica: int,
        *,
        queue_size: int,
    ) -> None:
        self.number = replica
        self._turns = turns
        self._pool = pool
        self.device = device
        self.now_ns = 0
        """The engine's own time: everything before it is decided."""
        self.log = TokenLog()
        self.recorder = Recorder(replica)
        self.finished: list[Request] = []
        """Requests finished since the driver last took them."""
        self.unfinished = 0
        self._queue_size = queue_size
        self._queue: deque[DeviceStep | None] = deque()
        """Batches under way, the oldest first; None for one that is empty."""
        self._checking = os.environ.get("SERVECAST_CHECK") == "1"
        self._waits = False
        """Whether the engine's loop waits for the oldest batch."""

    @abstractmethod
    def check(self) -> None:
        """Raise if a request or a KV block is lost or doubled."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Requests in its queue that nothing is computed of, or nothing is left of."""

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet."""
        return self.unfinished

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        return self._turns.limits.max_num_seqs

    def kv_used(self, now_ns: int) -> float:
        """Share of the KV blocks that requests hold at `now_ns`, to which it has been advanced."""
        return self._pool.used / self._turns.limits.num_blocks

    @property
    def peak_blocks(self) -> int:
        """The most KV blocks that its requests held."""
        return self._pool.peak_used

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        if not self._waits:
            self.now_ns = max(self.now_ns, now_ns)
        self.unfinished += 1
        self._turns.add_request(SteppedRequest(request))

    def next_ns(self) -> int | None:
        """When the batch ends that the engine waits for, or None when idle."""
        step = self._awaited()
        return None if step is None else step.end_ns

    def advance(self, until_ns: int | None, *, to_finish: bool = False) -> None:
        """Take every turn whose batch ends at or before `until_ns` (None: until it is idle).

        With `to_finish` none after the one that ends while `finished` is not empty.
        """
        until = inf if until_ns is None else until_ns
        while self._waits or self.now_ns < until:
            step = self._due(until)
            if step is None:
                return
            self._take(step)
            if to_finish and self.finished:
                return

    def _due(self, until: float) -> DeviceStep | None:
        """The next batch to wait for, where it ends at or before `until`."""
        step = self._awaited()
        return None if step is None or step.end_ns > until else step

    def _awaited(self) -> DeviceStep | None:
        """Take turns until the engine waits for a batch: that one, or None when it is idle."""
        turns, queue = self._turns, self._queue
        while not self._waits:
            if turns.has_requests:
                step = self._schedule()
                queue.append(step)
                if len(queue) < self._queue_size and (step or turns.has_requests):
                    continue
            elif not queue:
                return None
            if queue[0] is None:
                queue.popleft()
            else:
                self._waits = True
        return queue[0]

    def _schedule(self) -> DeviceStep | None:
        decided = self._turns.schedule()
        return self.device.run(decided, self.now_ns) if decided.num_scheduled_tokens else None

    def _take(self, step: DeviceStep) -> None:
        """Wait for the oldest batch and take in what it said."""
        self._queue.popleft()
        self._waits = False
        self.now_ns = max(self.now_ns, step.end_ns)
        self._hear(self._turns.update_from_output(step.decided, step.said, step.ended), step)
        self.log.note_step(step.start_ns, step.end_ns, step.batch, self._pool.used)
        if self._checking:
            self.check()

    def _hear(self, heard: list[tuple[SteppedRequest, int]], step: DeviceStep) -> None:
        """The clients have so many tokens each, all those of a request at once."""
        now_ns, row, at_once = step.end_ns, len(self.log), 0
        gaps: dict[int, int] = {}
        for request, tokens in heard:
            last_ns, request.last_token_ns = request.last_token_ns, now_ns
            if last_ns is None:
                request.request.first_token_ns = now_ns
                request.request.first_run = row
            else:
                gaps[now_ns - last_ns] = gaps.get(now_ns - last_ns, 0) + 1
            at_once += tokens - 1
            if request.is_finished:
                self.unfinished -= 1
                self.recorder.record(request.request, now_ns, row)
                self.finished.append(request.request)
        for gap_ns, count in gaps.items():
            self.log.note_gaps(gap_ns, count)
        if at_once:
            self.log.note_gaps(0, at_once)
