"""One replica of vLLM with asynchronous scheduling in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from servecast.primitives.step_cost import StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.scheduler import SchedulerLimits
from servecast.simulator.vllm_async_scheduler import LINGERS, VllmAsyncScheduler


class _Finished(NamedTuple):
    """A request that has its last token, before the scheduler knows."""

    request: Request
    finish_ns: int
    row: int


class AsyncEngine(Engine):
    """An engine that schedules ahead, and learns of a request's end one step late.

    The step after a request's last token has been scheduled when that token comes out. So it
    computes the request once more, and nobody hears that; unless the last token was the last one
    allowed, which the scheduler could foresee: then the step passes the request over.
    """

    def __init__(
        self,
        limits: SchedulerLimits,
        cost: StepCost,
        replica: int = 0,
        *,
        policy: Callable[[SchedulerLimits], VllmAsyncScheduler] = VllmAsyncScheduler,
        stepping: bool = False,
    ) -> None:
        """As `Engine` has it."""
        asynchronous = policy(limits)
        super().__init__(
            limits,
            cost,
            replica,
            policy=lambda _: asynchronous,
            schedules_ahead=True,
            stepping=stepping,
        )
        self._asynchronous = asynchronous
        self._lingering: list[_Finished] = []
        """Who is computed once more."""
        self._spent: list[_Finished] = []
        """Who is passed over."""

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet: not those that are computed once more."""
        return self.unfinished - len(self._lingering) - len(self._spent)

    def _plan(self) -> bool:
        scheduler = self._asynchronous
        while self.unfinished:
            self._start_ns = self.now_ns
            if self._unseen and not scheduler.running and not scheduler.waiting:
                self._see(self._unseen, self.now_ns)  # idle: it looks at once
            chunks, preempted = scheduler.schedule()
            for request in preempted:
                self._note_preemption(request)
            makes_room = bool(preempted or self._lingering or self._spent)
            self._withdraw(preempted)
            self._release_spent()
            if chunks or scheduler.group.size:
                self._unheard = len(self._lingering)
                self._plan_step(chunks, is_alone=makes_room or bool(self._unseen))
                return True
            if self._unseen:  # an empty batch: the next one is scheduled when this step ends
                self._see(self._unseen, self.now_ns)
        return False

    def _commit(self) -> None:
        computed_once_more, self._lingering = self._lingering, []
        super()._commit()
        for finished in computed_once_more:
            self._asynchronous.finish(finished.request, decoding=True)
            self._spread = None
            self._close(finished)

    def _finish(self, request: Request, *, decoding: bool) -> None:
        self._spread = None
        self.finished.append(request)
        finished = _Finished(request, self._end_ns, self._rows - 1)
        limits = self.scheduler.limits
        allowed = min(request.max_tokens, limits.max_model_len - request.prompt_tokens)
        if request.output_tokens >= allowed:
            request.decode_end = 0
            self._asynchronous.retire(request, decoding=decoding)
            self._spent.append(finished)
            return
        if not decoding:
            self.scheduler.group.join(request)
        request.decode_end = LINGERS
        self._lingering.append(finished)

    def _withdraw(self, preempted: list[Request]) -> None:
        """Let those go who lost their blocks in the pass that did not know of their end."""
        for finished in [*self._lingering, *self._spent]:
            if finished.request in preempted:
                self._asynchronous.withdraw(finished.request)
                self._close(finished)
        self._lingering = [each for each in self._lingering if each.request not in preempted]
        self._spent = [each for each in self._spent if each.request not in preempted]

    def _release_spent(self) -> None:
        for finished in self._spent:
            self._asynchronous.finish(finished.request, decoding=False)
            self._close(finished)
        self._spent.clear()

    def _close(self, finished: _Finished) -> None:
        self.recorder.record(finished.request, finished.finish_ns, finished.row)
        self.unfinished -= 1
