"""One replica of SGLang that drafts, in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation
from servecast.primitives.step_cost import StepCost
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.sglang_step_scheduler import SglangStepScheduler
from servecast.simulator.stepped_device import SteppedDevice
from servecast.simulator.turning_engine import TurningEngine


class SglangDraftingEngine(TurningEngine):
    """Takes every step: how many tokens each brings nobody knows beforehand.

    In its loop with overlap SGLang launches a step before it waits for the one before.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        stages: Sequence[StepCost],
        speculation: Speculation,
        policy: SglangPolicy,
        replica: int = 0,
    ) -> None:
        """`stages` is what a step costs, drafts included: there is one."""
        self._steps = SglangStepScheduler(limits, speculation, policy)
        self.scheduler = self._steps.scheduler
        device = SteppedDevice(stages, speculation)
        queue_size = 1 if policy.disable_overlap_schedule else 2
        super().__init__(self._steps, self.scheduler.blocks, device, replica, queue_size=queue_size)

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        if not self.unfinished and not self._waits and now_ns > self.now_ns:
            self.scheduler.has_rested = True
        super().submit(request, now_ns)

    @property
    def waiting(self) -> int:
        """Requests in its queue that nothing is computed of, or nothing is left of."""
        return len(self.scheduler.waiting)

    def check(self) -> None:
        """Raise if a request or a KV block is lost or doubled."""
        self.scheduler.check()
        if self.scheduler.held != self.unfinished:
            raise AssertionError(
                f"{self.unfinished} unfinished requests, {self.scheduler.held} known"
            )
