"""What transformers' loop did, step by step, and what became of the requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from servecast.primitives.batch import Batch, Group
from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.token_log import TokenLog


class Part(NamedTuple):
    """What a step computes of one request."""

    request: int
    """Its index in the workload."""
    new_tokens: int
    past_tokens: int
    """In the cache before; of a request's first part, those found there in shared blocks."""
    is_decode: bool
    emits: bool
    """Whether a token comes out: the last known one is computed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its parts in the scheduler's order, and when it was."""

    start_ns: int
    """When the loop looked into its queue."""
    end_ns: int
    """When its tokens were out."""
    device_ns: int
    """What the model took; the rest is the loop's own work."""
    parts: tuple[Part, ...]
    preempted: tuple[int, ...]
    """Who lost its blocks when it was scheduled, and waits to be computed again."""
    after_idle: bool
    """Whether the loop had nothing to do before it."""

    @property
    def host_ns(self) -> int:
        """What the loop took around the model."""
        return self.end_ns - self.start_ns - self.device_ns


def batch_of(parts: Sequence[Part], spread: Callable[[Sequence[int]], int]) -> Batch:
    """The parts as groups of equal kind; `spread` gives the bucket of the decodes' contexts."""
    contexts = [part.past_tokens for part in parts if part.is_decode]
    chunks = [Group(p.new_tokens, 1, p.past_tokens) for p in parts if not p.is_decode]
    if not contexts:
        return Batch(tuple(chunks))
    decode = Group(1, len(contexts), sum(contexts), spread(contexts), True)
    return Batch((decode, *chunks))


class StepLog:
    """Takes a loop's steps in: `begin`, `compute`, `end`, in turn. One for a run."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.run_log = TokenLog()
        self.recorder = Recorder(replica=0)
        self._start_ns = self._device_ns = 0
        self._is_idle = True
        self._parts: tuple[Part, ...] = ()
        self._requests: list[Request] = []
        self._preempted: list[int] = []

    def begin(self, start_ns: int) -> None:
        """The loop looks into its queue."""
        self._start_ns = start_ns

    def idle(self) -> None:
        """The loop found nothing to do."""
        self._is_idle = True

    def preempt(self, request: Request) -> None:
        """The request has lost its blocks, for the step that is being scheduled or the next."""
        request.num_preemptions += 1
        self._preempted.append(request.index)

    def compute(self, parts: Sequence[Part], requests: list[Request], device_ns: int) -> None:
        """The model has computed `parts`, of `requests`, in `device_ns`."""
        self._parts, self._requests, self._device_ns = tuple(parts), requests, device_ns

    def end(self, end_ns: int, blocks_used: int) -> list[Request]:
        """The tokens are out; the requests that have all theirs."""
        start_ns, parts = self._start_ns, self._parts
        preempted = tuple(self._preempted)
        self.steps.append(Step(start_ns, end_ns, self._device_ns, parts, preempted, self._is_idle))
        self._is_idle = False
        self._preempted.clear()
        decodes = [part for part in parts if part.is_decode]
        context = sum(part.past_tokens for part in decodes) // max(len(decodes), 1)
        chunk_tokens = sum(part.new_tokens for part in parts if not part.is_decode)
        self.run_log.append(
            start_ns, end_ns - start_ns, 1, len(decodes), context, 0, chunk_tokens, blocks_used
        )
        finished: list[Request] = []
        for part, request in zip(parts, self._requests, strict=True):
            if request.scheduled_ns is None:
                request.scheduled_ns, request.cached_tokens = start_ns, part.past_tokens
            if part.emits and self._emit(request, end_ns):
                finished.append(request)
        return finished

    def _emit(self, request: Request, end_ns: int) -> bool:
        row = len(self.steps) - 1
        if request.first_token_ns is None:
            request.first_token_ns, request.first_run = end_ns, row + 1
        else:
            self.run_log.note_gaps(end_ns - request.last_token_ns, 1)
        request.last_token_ns = end_ns
        request.emitted += 1
        if request.emitted < request.output_tokens:
            return False
        self.recorder.record(request, end_ns, row)
        return True
