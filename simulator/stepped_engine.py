"""One replica of vLLM in virtual time that takes every step, and may have several under way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from math import inf

from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.primitives.step_cost import StepCost
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_device import DeviceStep, SteppedDevice
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest
from servecast.simulator.token_log import TokenLog
from servecast.simulator.vllm_stepped_async_scheduler import VllmSteppedAsyncScheduler
from servecast.simulator.vllm_stepped_scheduler import VllmSteppedScheduler

DEFAULT = SteppedOptions()


class SteppedEngine:
    """For what `Engine` cannot skip through; with the same face, and equal where both can be.

    It takes the turns of vLLM's own loop (`EngineCore.step_with_batch_queue`): as long as the queue
    of batches has room it schedules another one, an empty one too; else it waits for the oldest.
    Nobody can arrive between two turns that do not wait.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        stages: Sequence[StepCost],
        replica: int = 0,
        *,
        options: SteppedOptions = DEFAULT,
    ) -> None:
        """`stages` are what a step costs in each stage of the pipeline."""
        kind = VllmSteppedAsyncScheduler if options.async_scheduling else VllmSteppedScheduler
        self.blocks = KvCacheManager(
            limits.groups or [KvGroup("full", 1, limits.block_size)],
            limits.num_blocks,
            max_model_len=limits.max_model_len,
            max_in_flight_tokens=options.max_concurrent_batches * limits.max_num_batched_tokens,
            enable_caching=limits.enable_prefix_caching,
            drops_last_block=options.uses_hidden_states,
        )
        self.scheduler: VllmSteppedScheduler = kind(limits, options, self.blocks)
        self.device = SteppedDevice(stages, options.speculation)
        self.now_ns = 0
        """The engine's own time: everything before it is decided."""
        self.log = TokenLog()
        self.recorder = Recorder(replica)
        self.finished: list[Request] = []
        """Requests finished since the driver last took them."""
        self.unfinished = 0
        self._has_drafts = bool(options.num_spec_tokens) and not options.async_scheduling
        self._queue_size = options.max_concurrent_batches
        self._queue: deque[DeviceStep | None] = deque()
        """Batches under way, the oldest first; None for one that is empty."""
        self._checking = os.environ.get("SERVECAST_CHECK") == "1"
        self._waits = False
        """Whether the engine's loop waits for the oldest batch."""

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet."""
        return self.unfinished

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        return self.scheduler.limits.max_num_seqs

    @property
    def peak_blocks(self) -> int:
        """The most KV blocks that its requests held."""
        return self.blocks.peak_used

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        if not self._waits:
            self.now_ns = max(self.now_ns, now_ns)
        self.unfinished += 1
        self.scheduler.add_request(SteppedRequest(request))

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
            step = self._awaited()
            if step is None or step.end_ns > until:
                return
            self._take(step)
            if to_finish and self.finished:
                return

    def check(self) -> None:
        """Raise if a request or a KV block is lost or doubled."""
        running, blocks = self.scheduler.running, self.blocks
        known = len(running) + len(self.scheduler.waiting)
        if known != self.unfinished:
            raise AssertionError(f"{self.unfinished} unfinished requests, {known} known")
        held = {number for each in running for ids in blocks.block_ids(each) for number in ids}
        held.discard(0)  # the null block
        if len(held) != blocks.used:
            raise AssertionError(f"{blocks.used} KV blocks in use, {len(held)} held")

    def _awaited(self) -> DeviceStep | None:
        """Take turns until the engine waits for a batch: that one, or None when it is idle."""
        scheduler, queue = self.scheduler, self._queue
        while not self._waits:
            if scheduler.has_requests:
                step = self._schedule()
                queue.append(step)
                if len(queue) < self._queue_size and (step or scheduler.has_requests):
                    continue
            elif not queue:
                return None
            if queue[0] is None:
                queue.popleft()
            else:
                self._waits = True
        return queue[0]

    def _schedule(self) -> DeviceStep | None:
        decided = self.scheduler.schedule()
        return self.device.run(decided, self.now_ns) if decided.num_scheduled_tokens else None

    def _take(self, step: DeviceStep) -> None:
        """Wait for the oldest batch and take in what it said."""
        self._queue.popleft()
        self._waits = False
        self.now_ns = max(self.now_ns, step.end_ns)
        self._hear(self.scheduler.update_from_output(step.decided, step.said, step.ended), step)
        if self._has_drafts:
            self.scheduler.update_draft_tokens(step.decided)
        self.log.note_step(step.start_ns, step.end_ns, step.batch, self.blocks.used)
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
