"""One replica of vLLM in virtual time whose KV caches come from other replicas, or go there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from servecast.primitives.step_cost import StepCost
from servecast.simulator.engine import Engine
from servecast.simulator.request import Request
from servecast.simulator.request_halves import FetchedRequest
from servecast.simulator.scheduler import Chunk, SchedulerLimits
from servecast.simulator.vllm_connected_scheduler import VllmConnectedScheduler


class ConnectedEngine(Engine):
    """An engine that asks after transfers when a step begins, and hears of them when that ends.

    While nobody can compute it asks all the time. Who drives it says `transferred` when one is
    over, and is told by `on_reserved` when there are blocks for one, at the engine's `now_ns`.
    """

    def __init__(
        self, limits: SchedulerLimits, cost: StepCost, replica: int = 0, *, stepping: bool = False
    ) -> None:
        """As `Engine` has it."""
        connected = VllmConnectedScheduler(limits)
        super().__init__(limits, cost, replica, policy=lambda _: connected, stepping=stepping)
        self.on_reserved: Callable[[FetchedRequest], None] = _nobody_is_told
        self._connected = connected
        self._over: deque[tuple[int, Request]] = deque()
        """Transfers that no step has asked after since they were over."""
        self._rests = True
        """Whether nobody could compute when it looked last."""

    def transferred(self, request: Request, now_ns: int) -> None:
        """The transfer to or from a request's blocks is over at `now_ns`."""
        self._over.append((now_ns, request))
        if self._planned:
            if self._steps > 1:
                self._cut(now_ns, ahead=int(now_ns > self._start_ns))
        elif self._rests:
            self.now_ns = max(self.now_ns, now_ns)
            self._ask(now_ns)

    def cached_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt that its prefix cache holds now."""
        return self._connected.cached_blocks(request) * self.scheduler.limits.block_size

    def _plan(self) -> bool:
        while self.unfinished:
            self._start_ns = self.now_ns
            chunks, preempted = self.scheduler.schedule()
            for request in preempted:
                self._note_preemption(request)
            for reserved in self._connected.reserved:
                self.on_reserved(reserved)
            if chunks or self.scheduler.group.size:
                self._rests = False
                self._plan_step(chunks, is_alone=bool(preempted or self._over))
                return True
            if not self._ask(self.now_ns) and not preempted:
                break
        self._ask(self.now_ns)
        self._rests = True
        return False

    def _commit(self) -> None:
        asked_ns = self._last_step_ns()
        super()._commit()
        self._ask(asked_ns)

    def _ask(self, moment_ns: int) -> bool:
        """Take in the transfers that were over by then; whether there were any."""
        over = self._over
        found = bool(over) and over[0][0] <= moment_ns
        while over and over[0][0] <= moment_ns:
            self._connected.take_in(over.popleft()[1])
        return found

    def _finish_chunk(self, chunk: Chunk) -> None:
        request = chunk.request
        if (
            isinstance(request, FetchedRequest)
            and request.first_token_ns is not None
            and not request.first_run
        ):
            request.first_run = self._rows - 1  # its second token comes out here
        super()._finish_chunk(chunk)


def _nobody_is_told(_: FetchedRequest) -> None:
    """Where nobody drives the transfers none begins."""
