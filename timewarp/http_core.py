"""vLLM's engine core on the event loop of its own API server."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

from servecast.errors import ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.driver import IDLE_TURNS
from servecast.timewarp.foreign import foreign
from servecast.timewarp.journal import Journal
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from servecast.timewarp.virtual_loop import VirtualLoop

T = TypeVar("T")


class YieldingClock(VirtualClock):
    """The clock of a loop as the engine sees it: to jump is to let the loop go on until then."""

    __slots__ = ("_shown",)

    def __init__(self, shown: VirtualClock) -> None:
        super().__init__()
        self._shown = shown

    def now_ns(self) -> int:
        """The loop's time."""
        return self._shown.now_ns()

    def jump_to(self, ns: int) -> None:
        """Switch out of the engine, into the loop, which comes back at `ns`."""
        if ns > self.now_ns():
            foreign("greenlet").getcurrent().parent.switch(ns)


async def yielding(loop: VirtualLoop, work: Callable[[], T]) -> T:
    """What `work` returns, which may wait on a `YieldingClock` of `loop`."""
    engine = foreign("greenlet").greenlet(work)
    answer: Any = engine.switch()
    while not engine.dead:
        await loop.at(answer)
        answer = engine.switch()
    result: T = answer
    return result


class LoopCore:
    """Stands in for vLLM's client of an engine in another process: it steps one in this loop.

    `AsyncLLM` queues requests and takes outputs; `serve`, a task of the loop, is the busy loop of
    vLLM's engine process. A step starts only once all that was sent at its instant has come, as
    in the in-process driver. The end of a step that is under way does not wait for that.
    """

    engine_ranks_managed = (0,)

    def __init__(
        self,
        core: Any,
        serving: Serving,
        journal: Journal,
        known: Mapping[int, Request],
        block_size: int,
    ) -> None:
        """`known` are the requests whose lengths are decided, by the id that their client sends."""
        self.resources = SimpleNamespace(engine_dead=False)
        self.engine = core
        self._serving = serving
        self._journal = journal
        self._known = known
        self._block_size = block_size
        self._unknown = max(known, default=-1)
        self._inbox: deque[Callable[[], None]] = deque()
        self._has_work = asyncio.Event()
        self._idle_turns = 0
        self._state = 0, 0
        self._outputs: asyncio.Queue[Any] = asyncio.Queue()

    async def serve(self) -> None:
        """Step the engine for ever. Its failure is raised here, after its clients were told."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("an engine on virtual time is served by a VirtualLoop")
        while True:
            await self._has_work.wait()
            await loop.at_rest()
            try:
                by_client = await yielding(loop, self._step)
                self._note_idleness(loop.clock.now_ns())
            except Exception as error:
                raise self._failed(error) from error
            for outputs in by_client.values():
                self._outputs.put_nowait(outputs)
            if not (self.engine.scheduler.has_requests() or self.engine.batch_queue):
                self._has_work.clear()

    def _step(self) -> dict[int, Any]:
        """A turn of the engine: its outputs, by the number of the front end."""
        while self._inbox:
            self._inbox.popleft()()
        by_client: dict[int, Any] | None
        by_client, executed = self.engine.step_fn()
        self.engine.post_step(executed)
        while self._serving.done:
            step = self._serving.done.popleft()
            self._journal.note(step, step.end_ns)
        return by_client or {}

    def _note_idleness(self, now_ns: int) -> None:
        """Raise RuntimeError for an engine that has requests and will never serve them."""
        state = now_ns, self._journal.steps
        self._idle_turns = self._idle_turns + 1 if state == self._state else 0
        self._state = state
        if self._idle_turns == IDLE_TURNS:
            raise RuntimeError("it has requests and schedules none of them")

    def _failed(self, error: Exception) -> ServecastError:
        """What the engine did, and when; vLLM's front end tells its clients that it is dead."""
        self.resources.engine_dead = True
        self._outputs.put_nowait(foreign("vllm.v1.engine.exceptions").EngineDeadError())
        return ServecastError(
            f"vllm raised {type(error).__name__}: {error}, "
            f"{self._serving.device.clock.now_ns() / 1e9:.6f} s into the run "
            f"(step {self._journal.steps:,})"
        )

    async def add_request_async(self, request: Any) -> None:
        """Queue a request; it is in time for a step that starts at this instant."""
        request.client_index = 0
        served = Served(self._told(request), self._block_size)
        self._serving.requests[request.request_id] = served
        ready = self.engine.preprocess_add_request(request)
        self._inbox.append(lambda: self.engine.add_request(*ready))
        self._has_work.set()

    def _told(self, request: Any) -> Request:
        """Who that is: known by its client's id, or a stranger who gets all that it asks for."""
        now_ns = self._serving.device.clock.now_ns()
        named = re.fullmatch(r"cmpl-(\d+)-0", request.external_req_id)
        known = self._known.get(int(named[1])) if named else None
        if known is not None:
            known.arrival_ns = now_ns
            return known
        self._unknown += 1
        asked = request.sampling_params.max_tokens
        return Request(
            self._unknown, now_ns, len(request.prompt_token_ids), asked, max_tokens=asked
        )

    async def get_output_async(self) -> Any:
        """The next outputs; raises vLLM's own error once the engine has failed."""
        outputs = await self._outputs.get()
        if isinstance(outputs, Exception):
            raise outputs
        return outputs

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """A client has gone. As in vLLM: at the end of the step under way, or before the next."""
        self.engine.aborts_queue.put_nowait(request_ids)
        self._inbox.append(lambda: self.engine.abort_requests(request_ids))
        self._has_work.set()

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        """What the stand-in model can do."""
        return ("generate",)

    async def reset_mm_cache_async(self) -> None:
        """There are no images."""

    def shutdown(self, timeout: float | None = None) -> None:
        """Whoever started the engine closes it."""
