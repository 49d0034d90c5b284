"""One replica of an engine in virtual time: passive, lazy, exact."""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

from servecast.primitives.batch import Batch, Group
from servecast.primitives.decode_run import DecodeRun
from servecast.primitives.step_cost import StepCost
from servecast.simulator.pauses import Pauses
from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.run_log import RunLog
from servecast.simulator.scheduler import Chunk, Scheduler, SchedulerLimits
from servecast.simulator.unseen import Unseen
from servecast.simulator.vllm_scheduler import VllmScheduler


class Engine:
    """Runs a scheduler over a step cost. Who drives it calls `advance(t)`, then `submit` at t.

    The engine plans one run ahead: a step with prompt chunks, or as many decode steps as nothing
    can change. A run is a plan until `advance` passes its end, so an arrival can cut it where a
    stepping engine would look at its queue again: at the first step boundary not before it. The
    step that starts there sees it, unless the engine schedules ahead and had decided it before.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        cost: StepCost,
        replica: int = 0,
        *,
        policy: Callable[[SchedulerLimits], Scheduler] = VllmScheduler,
        schedules_ahead: bool = False,
        stepping: bool = False,
    ) -> None:
        """`policy` makes the engine's scheduler; `schedules_ahead` is overlap scheduling.

        `stepping` is the slow twin that skipping must equal. SERVECAST_CHECK=1 in the environment
        calls `check` after every run.
        """
        self.scheduler: Scheduler = policy(limits)
        self.number, self.now_ns = replica, 0
        """Start of the next step to plan: everything before it is decided."""
        self.log = RunLog()
        self.recorder = Recorder(replica)
        self.finished: list[Request] = []
        """Requests finished since the driver last took them."""
        self.unfinished: int = 0
        self._cost = cost
        self._needs_spread, self._stepping = cost.needs_spread, stepping
        self._checking = os.environ.get("SERVECAST_CHECK") == "1"
        self._ends: list[tuple[int, int, Request]] = []
        self._pauses = None if self.scheduler.mixes_decodes else Pauses()
        self._unseen = Unseen() if schedules_ahead else None
        self._planned = False
        self._start_ns = self._end_ns = 0
        self._steps = self._sequences = 0  # of the run, and who gains a token in each
        self._chunks: list[Chunk] = []
        self._run: DecodeRun | None = None
        self._context = self._chunk_tokens = 0
        self._unheard = 0  # of those who gain a token: it is beyond their last one
        self._order, self._rows = 0, 0  # of ends; of the log, one for each run committed
        self._spread: int | None = None

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        self.unfinished += 1
        if self._unseen is not None and (self._planned or self.scheduler.running or self._unseen):
            self._unseen.append((now_ns, request))
            if self._steps > 1 and self._planned and self.scheduler.looks_at_arrivals():
                self._cut(now_ns, ahead=1)
            return
        if self.unfinished == 1 and now_ns > self.now_ns:
            self.scheduler.has_rested = True
        self.scheduler.add_request(request)
        if not self._planned:
            self.now_ns = max(self.now_ns, now_ns)
        elif self._steps > 1 and self.scheduler.admits_on_arrival():
            self._cut(now_ns)

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet."""
        return self.unfinished

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        return self.scheduler.limits.max_num_seqs

    @property
    def waiting(self) -> int:
        """Requests in its queue that nothing is computed of, or nothing is left of."""
        return len(self.scheduler.waiting) + len(self._unseen or ())

    def kv_used(self, now_ns: int) -> float:
        """Share of the KV blocks that requests hold at `now_ns`, which no run planned precedes."""
        begun = 0
        if self._planned and self._run is not None and self._sequences:
            begun = self._run.steps_until(self._context, now_ns - self._start_ns, self._steps)
        return self.scheduler.kv_used(begun)

    @property
    def peak_blocks(self) -> int:
        """The most KV blocks that its requests held."""
        return self.scheduler.blocks.peak_used

    def next_ns(self) -> int | None:
        """When the planned run ends (a completion at the earliest then), or None when idle."""
        if self._planned or self._plan():
            return self._end_ns
        return None

    def advance(self, until_ns: int | None, *, to_finish: bool = False) -> None:
        """Commit every run that ends at or before `until_ns` (None: until the engine is idle).

        With `to_finish` none after the one that ends while `finished` is not empty.
        """
        until = inf if until_ns is None else until_ns
        while self._planned or (self.now_ns < until and self._plan()):
            if self._end_ns > until:
                return
            self._commit()
            if to_finish and self.finished:
                return

    def check(self) -> None:
        """Raise if a request is lost or doubled or, between runs, if the scheduler is broken."""
        held = self.scheduler.held + len(self._unseen or ())
        if held != self.unfinished:
            raise AssertionError(f"{self.unfinished} unfinished requests, {held} held")
        if self._rows and not self._steps:
            raise AssertionError("a run of no steps: the engine would never end")
        if not self._planned:
            self.scheduler.check()

    def _plan(self) -> bool:
        if not self.unfinished:
            return False
        self._start_ns = self.now_ns
        if self._unseen and not self.scheduler.running and not self.scheduler.waiting:
            self._see(self._unseen, self.now_ns)  # idle: it looks at once
        chunks, preempted = self.scheduler.schedule()
        for request in preempted:
            self._note_preemption(request)
        self._plan_step(chunks, is_alone=bool(preempted or self._unseen))
        return True

    def _plan_step(self, chunks: list[Chunk], *, is_alone: bool) -> None:
        """Plan a step with these chunks, or the run of those who decode: one if it `is_alone`."""
        self._chunks = chunks
        self._planned = True
        if chunks:
            self._plan_mixed_step(chunks)
        else:
            self._plan_decode_run(is_alone or self._stepping)

    def _note_preemption(self, request: Request) -> None:
        if request.decode_end:  # it was decoding: its latest token came out just now
            self._spread = None
            joined_ns, request.last_token_ns = request.last_token_ns, self.now_ns
            if self._pauses:
                request.last_token_ns = self._pauses.leave(joined_ns, self.now_ns)
            request.decode_end = 0

    def _plan_mixed_step(self, chunks: list[Chunk]) -> None:
        group = self.scheduler.group
        groups: list[Group] = []
        self._sequences = size = group.size
        if self._pauses is not None and not self.scheduler.mixes_decodes:
            self._pauses.stand_still(size, self.now_ns)
            self._sequences = 0
        elif size:
            spread = self._spread_now() if self._needs_spread else 0
            groups.append(Group(1, size, group.base_sum + size * group.steps, spread, True))
        chunk_tokens = 0
        for _, new_tokens, past_tokens in chunks:
            groups.append(Group(new_tokens, 1, past_tokens))
            chunk_tokens += new_tokens
        device_ns, host_ns = self._cost.step(Batch(tuple(groups)))
        self._steps, self._run, self._context, self._chunk_tokens = 1, None, 0, chunk_tokens
        self._end_ns = self.now_ns + device_ns + host_ns

    def _plan_decode_run(self, one_step: bool) -> None:
        group, steps = self.scheduler.group, 1
        size, past = group.size, group.steps
        if not one_step:
            ends = self._ends
            while ends[0][0] != ends[0][2].decode_end:
                heappop(ends)  # a preempted request's end moved
            steps = self.scheduler.horizon(ends[0][0] - past)
        spread = self._spread_now() if self._needs_spread else 0
        self._run = run = self._cost.decode_run(size, spread)
        self._context = context = group.base_sum // size + past
        self._steps, self._sequences, self._chunk_tokens = steps, size, 0
        self._end_ns = self.now_ns + run.run_ns(context, steps)

    def _spread_now(self) -> int:
        if self._spread is None:
            self._spread = self._cost.spread(self.scheduler.group.contexts())
        return self._spread

    def _cut(self, now_ns: int, ahead: int = 0) -> None:
        """End the run at the first boundary not before `now_ns`, or `ahead` steps later."""
        run, planned = self._run, self._steps
        if run is not None:
            steps = run.steps_until(self._context, now_ns - self._start_ns, planned)
            self._steps = min(steps + ahead, planned)
            self._end_ns = self._start_ns + run.run_ns(self._context, self._steps)

    def _commit(self) -> None:
        scheduler, steps, sequences = self.scheduler, self._steps, self._sequences
        if sequences:
            scheduler.advance(steps)
            if self._pauses:
                self._end_pauses(self._pauses)
        start_ns, unheard, blocks = self._start_ns, self._unheard, scheduler.blocks
        self.now_ns = end_ns = self._end_ns
        self.log.append(
            start_ns,
            end_ns - start_ns,
            steps,
            sequences - unheard,
            self._context,
            self._spread or 0,
            self._chunk_tokens + unheard,
            blocks.total - blocks.free,
        )
        self._rows += 1
        self._planned = False
        if self._unseen:
            self._see(self._unseen, self._last_step_ns())
        ends = self._ends
        if ends and ends[0][0] <= scheduler.group.steps:
            self._finish_decoding()
        for chunk in self._chunks:
            self._finish_chunk(chunk)
        if self._checking:
            self.check()

    def _end_pauses(self, pauses: Pauses) -> None:
        """Those who stood still get a token again: their gaps reach back to the one before."""
        run, whole_ns = self._run, self._end_ns - self._start_ns
        step_ns = whole_ns if run is None else run.run_ns(self._context, 1)
        for stopped_ns, sequences in pauses.end():
            self.log.note_pause(self._start_ns + step_ns - stopped_ns, step_ns, sequences)

    def _last_step_ns(self) -> int:
        """When the last step of the run began: ahead, the step after it was scheduled then."""
        if self._run is None:
            return self._start_ns
        return self._start_ns + self._run.run_ns(self._context, self._steps - 1)

    def _see(self, unseen: Unseen, moment_ns: int) -> None:
        """Queue those who came at `moment_ns` or before."""
        for request in unseen.until(moment_ns):
            self.scheduler.add_request(request)

    def _finish_decoding(self) -> None:
        ends, steps = self._ends, self.scheduler.group.steps
        while ends and ends[0][0] <= steps:
            end, _, request = heappop(ends)
            if end == request.decode_end:
                self._finish(request, decoding=True)

    def _finish_chunk(self, chunk: Chunk) -> None:
        request = chunk.request
        if request.scheduled_ns is None:
            request.scheduled_ns = self._start_ns
        if not self.scheduler.update(chunk):
            return
        if request.first_token_ns is None:
            request.first_token_ns = self._end_ns
            request.first_run = self._rows
        else:
            self.log.stall_ns.append(self._end_ns - request.last_token_ns)
        if request.emitted == request.output_tokens:
            self._finish(request, decoding=False)
            return
        group = self.scheduler.group
        group.join(request)
        request.last_token_ns = self._end_ns
        self._spread = None
        self._order += 1
        request.decode_end = group.steps + request.output_tokens - request.emitted
        heappush(self._ends, (request.decode_end, self._order, request))

    def _finish(self, request: Request, *, decoding: bool) -> None:
        if decoding:
            self._spread = None
        request.decode_end = 0
        self.scheduler.finish(request, decoding=decoding)
        self.unfinished -= 1
        self.recorder.record(request, self._end_ns, self._rows - 1)
        self.finished.append(request)
