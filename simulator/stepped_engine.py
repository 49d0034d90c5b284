"""One replica of vLLM in virtual time that takes every step, and may have several under way."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.primitives.step_cost import StepCost
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.stepped_device import DeviceStep, SteppedDevice
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest
from servecast.simulator.turning_engine import TurningEngine
from servecast.simulator.vllm_stepped_async_scheduler import VllmSteppedAsyncScheduler
from servecast.simulator.vllm_stepped_scheduler import VllmSteppedScheduler

DEFAULT = SteppedOptions()


class SteppedEngine(TurningEngine):
    """For what `Engine` cannot skip through; with the same face, and equal where both can be.

    Its turns are those of vLLM's own loop (`EngineCore.step_with_batch_queue`).
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        stages: Sequence[StepCost],
        replica: int = 0,
        *,
        options: SteppedOptions = DEFAULT,
        stepping: bool = False,
    ) -> None:
        """`stages` are what a step costs in each stage of the pipeline; with `stepping` every
        request is looked at in every step."""
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
        self._has_drafts = bool(options.num_spec_tokens) and not options.async_scheduling
        super().__init__(
            self.scheduler,
            self.blocks,
            SteppedDevice(stages, options.speculation),
            replica,
            queue_size=options.max_concurrent_batches,
        )
        alike = len(stages) == 1 and self.blocks.is_plain and not stages[0].needs_spread
        self._gathers = alike and not stepping

    @property
    def waiting(self) -> int:
        """Requests in its queue that nothing is computed of, or nothing is left of."""
        return len(self.scheduler.waiting)

    def check(self) -> None:
        """Raise if a request or a KV block is lost or doubled."""
        running, blocks = self.scheduler.running, self.blocks
        known = len(running) + len(self.scheduler.waiting)
        if known != self.unfinished:
            raise AssertionError(f"{self.unfinished} unfinished requests, {known} known")
        held = {number for each in running for ids in blocks.block_ids(each) for number in ids}
        held.discard(0)  # the null block
        spare = self.scheduler.cohort.spare_blocks
        if len(held) + spare != blocks.used:
            raise AssertionError(f"{blocks.used} KV blocks in use, {len(held)} + {spare} held")

    def _due(self, until: float) -> DeviceStep | None:
        if not self._waits:
            self._run_on(until)
            if self.now_ns >= until:
                return None
        return super()._due(until)

    def _run_on(self, until: float) -> None:
        """Steps of a cohort alone, as long as nobody ends and no blocks are wanting."""
        scheduler, device, blocks = self.scheduler, self.device, self.blocks
        if not self._gathers or self._queue_size > 1 or not scheduler.is_cohort:
            return
        cohort = scheduler.cohort
        while self.now_ns < until:
            step = cohort.peek()
            if step is None:
                return
            start_ns, end_ns = device.alone(step, self.now_ns)
            if end_ns > until:
                return
            scheduler.pass_over()
            cohort.schedule()
            blocks.new_step_ends()
            device.occupy(end_ns)
            self._hear_cohort(step.place, end_ns)
            context = step.context_sum // step.sequences
            row = (start_ns, end_ns - start_ns, 1, step.sequences, context, 0, 0, blocks.used)
            self.log.append(*row)
            self.now_ns = end_ns
            if self._checking:
                self.check()

    def _schedule(self) -> DeviceStep | None:
        if self._gathers:
            said = self.scheduler.gather()
            for step in self._queue:
                if said and step is not None:
                    step.spell_out(said)
        decided = self.scheduler.schedule()
        return self.device.run(decided, self.now_ns) if decided.num_requests else None

    def _take(self, step: DeviceStep) -> None:
        cohort = step.decided.cohort
        left = [] if cohort is None else self.scheduler.cohort.leaving(cohort.place)
        if left:
            step.spell_out(left)
        super()._take(step)

    def _hear(self, heard: list[tuple[SteppedRequest, int]], step: DeviceStep) -> None:
        super()._hear(heard, step)
        if step.decided.cohort is not None:
            self._hear_cohort(step.decided.cohort.place, step.end_ns)
        self.scheduler.cohort.heard_ns = step.end_ns
        if self._has_drafts:
            self.scheduler.update_draft_tokens(step.decided)

    def _hear_cohort(self, place: int, now_ns: int) -> None:
        """The clients of all members that go on have their tokens."""
        cohort = self.scheduler.cohort
        sequences, tokens = cohort.hear(place)
        self.log.note_gaps(now_ns - cohort.heard_ns, sequences)
        self.log.note_gaps(0, tokens - sequences)
        cohort.heard_ns = now_ns
