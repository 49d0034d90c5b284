"""transformers' own generation loop, in the caller's thread, on a clock that can jump."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

from servecast.errors import ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.oracle import END
from servecast.timewarp.transformers_execution import Execution
from servecast.timewarp.transformers_queue import ArrivalQueue, Doorbell
from servecast.timewarp.transformers_seam import (
    FLUSH_AND_STOP,
    Manager,
    Processor,
    Scheduled,
    State,
    bell_of,
    processor_of,
)
from servecast.timewarp.transformers_steps import Part, StepLog
from servecast.timewarp.transformers_texts import Texts, Tokens
from servecast.timewarp.warped import warped

LOGGER = "ContinuousBatchingLogger"


class GenerationLoop:
    """One run of an engine's loop over requests; `run` does it once.

    The engine schedules, allocates, prepares and updates as ever. Taken hold of are the call that
    runs the model, the queue that requests come from, and the event that an idle loop waits for.
    An output ends with a token that the engine takes for the end of the text, at its true length,
    which nothing before that token gives away: until then it goes on as its text does.
    """

    def __init__(
        self, manager: Manager, queue: ArrivalQueue, execution: Execution, texts: Texts
    ) -> None:
        self.log = StepLog()
        self.peak_blocks = 0
        self._manager, self._queue, self._execution = manager, queue, execution
        self._texts = texts
        self._text: dict[str, Tokens] = {}
        self._requests: dict[str, Request] = {}
        self._computed: set[str] = set()
        self._tokens = self._steps_without_end = 0
        queue.send = self._send
        manager.input_queue = queue
        status = manager.background_thread_status
        bell = Doorbell(queue, lambda: status.request_stop(FLUSH_AND_STOP, 0))
        setattr(manager, bell_of(manager), bell)
        self._processor = manager.batch_processor = processor_of(manager)
        self._hook(self._processor)

    def run(self) -> None:
        """Serve everything; ServecastError for whatever the engine dies of."""
        with warped(self._execution.clock, "transformers"), _quiet():
            self._manager._run_generation_loop()  # pyright: ignore[reportPrivateUsage]
        error = self._manager.background_thread_status.fatal_error
        if isinstance(error, ServecastError):
            raise error
        if error is not None:
            raise ServecastError(
                f"transformers failed at step {len(self.log.steps)}: {error}",
                hint="raise num_blocks where its cache is too small for a request",
            ) from error

    def _send(self, request: Request) -> None:
        name = str(request.index)
        self._requests[name] = request
        text = self._text[name] = self._texts(request)
        self._tokens += request.prompt_tokens + request.output_tokens
        self._manager.add_request(
            text(0, request.prompt_tokens),
            request_id=name,
            max_new_tokens=request.max_tokens,
            record_timestamps=True,
            eos_token_id=END,
        )

    def _hook(self, processor: Processor) -> None:
        prepare, update = processor.prepare_next_batch, processor.update_batch
        compute = processor.model_runner.compute_batch

        def timed_prepare() -> bool:
            self.log.begin(self._queue.now_ns())
            is_step = prepare()
            if not is_step:
                self.log.idle()
            return is_step

        def timed_compute(model: object, inputs: object) -> None:
            self._compute(lambda: compute(model, inputs))

        def timed_update() -> None:
            update()
            self._end()

        add_waiting = processor.scheduler.add_waiting_request

        def noted_waiting(state: State) -> None:
            if state.request_id in self._computed:
                self.log.preempt(self._requests[state.request_id])
            add_waiting(state)

        processor.scheduler.add_waiting_request = noted_waiting
        processor.prepare_next_batch, processor.update_batch = timed_prepare, timed_update
        processor.model_runner.compute_batch = timed_compute

    def _compute(self, forward: Callable[[], None]) -> None:
        """Let the step pass, and say what comes out of it."""
        inputs = self._processor.model_runner.inputs_and_outputs
        parts = [self._part(each) for each in inputs.requests_in_batch]
        requests = [self._requests[each.state.request_id] for each in inputs.requests_in_batch]
        device_ns = self._execution.run(parts, forward)
        said = [
            self._said(request) for part, request in zip(parts, requests, strict=True) if part.emits
        ]
        for place, token in enumerate(said):
            inputs.output_ids[0, place] = token
        self.log.compute(parts, requests, device_ns)

    def _said(self, request: Request) -> int:
        """The next token of its output."""
        if request.emitted + 1 >= request.output_tokens:
            return END
        (token,) = self._text[str(request.index)](request.prompt_tokens + request.emitted, 1)
        return token

    def _part(self, scheduled: Scheduled) -> Part:
        state, new_tokens = scheduled.state, scheduled.query_length
        request = self._requests[state.request_id]
        self._computed.add(state.request_id)
        past_tokens = state.position_offset - new_tokens  # preparing has moved it on
        is_decode = state.generated_len() > 0
        return Part(request.index, new_tokens, past_tokens, is_decode, scheduled.has_new_token)

    def _end(self) -> None:
        cache, now_ns = self._processor.cache, self._queue.now_ns()
        used = round((1.0 - cache.compute_free_capacity()) * cache.num_blocks)
        self.peak_blocks = max(self.peak_blocks, used)
        finished = self.log.end(now_ns, used)
        self._steps_without_end = 0 if finished else self._steps_without_end + 1
        self._queue.finished(len(finished), now_ns)
        for request in finished:
            self._computed.discard(str(request.index))
            del self._text[str(request.index)]
        if self._steps_without_end > self._tokens:
            raise ServecastError(
                f"transformers took {self._steps_without_end} steps in which no request ended",
                hint="raise num_blocks: requests may take each other's blocks for ever",
            )


@contextmanager
def _quiet() -> Generator[None]:
    """Without the engine's log: what it dies of is raised."""
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
