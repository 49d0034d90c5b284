"""SGLang's model worker on a virtual device: the forward pass is a jump of the clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from servecast.timewarp.device import Step
from servecast.timewarp.oracle import END
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_pool import HollowRunner
from servecast.timewarp.sglang_seam import srt


class Limits(Protocol):
    """What is read of a request's sampling parameters."""

    max_new_tokens: int


class Req(Protocol):
    """What is read of a request as SGLang's scheduler keeps it."""

    rid: str
    origin_input_ids: Sequence[int]
    output_ids: Sequence[int]
    sampling_params: Limits
    is_retracted: bool
    to_finish: object | None
    """Why it is to end without a token: SGLang sends a stub of what it refuses to the device."""


class Mode(Protocol):
    """Whether a batch computes prompts, decodes, or both."""

    def is_extend(self) -> bool:
        """Prompts, with or without decodes beside them."""
        ...


class Forward(Protocol):
    """What is read of a batch that is about to be computed."""

    reqs: Sequence[Req]
    forward_mode: Mode
    extend_lens: Sequence[int]
    prefix_lens: Sequence[int]
    decoding_reqs: Sequence[Req] | None


class Flight(NamedTuple):
    """Steps whose output the scheduler has not looked at yet, and will at once."""

    steps: list[Step]
    reqs: Sequence[Req]


@dataclass(slots=True)
class Launcher:
    """Starts the scheduler's batches on the device of one replica."""

    serving: Serving
    overlaps: bool = False
    """Whether the scheduler waits for an event before it reads tokens, and may go on meanwhile."""
    width: int = 1
    """Tokens that a decoding request computes in a step: the last one said, and drafts."""
    flights: deque[Flight] = field(default_factory=deque[Flight])
    preempted: list[int] = field(default_factory=list[int])
    """Indices of those retracted since the last batch."""

    def retract(self, req: Req) -> None:
        """The scheduler took a running request back into its queue."""
        request = self.serving.requests[req.rid].request
        request.num_preemptions += 1
        self.preempted.append(request.index)

    def launch(self, batch: Forward) -> Step:
        """Start a batch: the step that computes it."""
        serving = self.serving
        if batch.forward_mode.is_extend():
            work = self._placed(batch)
        else:
            work = [(serving.requests[req.rid], self.width) for req in batch.reqs]
        preempted, self.preempted = self.preempted, []
        step = serving.device.run(work, preempted, serving.blocks_used())
        # The scheduler edits its list of requests while the step runs.
        self.flights.append(Flight([step], tuple(batch.reqs)))
        if not self.overlaps:
            self.land()
        return step

    def leap(self, may_go_on: Callable[[], bool]) -> list[list[int]]:
        """Let the requests launched last decode on, step by step; what each of them says.

        Until somebody has its last token, somebody arrives, or `may_go_on`, which is asked when
        nothing else stands against a step, says no.
        """
        serving = self.serving
        trail = [flight.steps[-1] for flight in self.flights] or [serving.done[-1]]
        looks = -len(trail)  # the step whose end lets the scheduler look for requests
        first, before = trail[-1], len(trail)
        left = min(each.request.output_tokens - each.request.emitted for each, _ in first.work)
        next_ns = serving.arrivals.next_ns()
        while len(trail) - before < left and (next_ns is None or next_ns > trail[looks].end_ns):
            if not may_go_on():
                break
            trail.append(serving.device.again(trail[-1], serving.blocks_used()))
        return self._say(first, trail[before:]) if len(trail) > before else []

    def _say(self, first: Step, steps: list[Step]) -> list[list[int]]:
        """The tokens of `steps` behind `first`: those of the last are its own, as it may be the
        last of a request, or be dropped; the others ride along."""
        requests = [served for served, _ in first.work]
        said = [each.take(len(steps) - 1) if len(steps) > 1 else [] for each in requests]
        for tokens, more in zip(first.tokens, said, strict=True):
            tokens.extend(more)
        past = [each.computed for each in requests]
        ends = [each.take(1) for each in requests]
        last = replace(steps[-1], work=first.work, past=past, tokens=ends, riders=0)
        if self.overlaps:
            reqs = self.flights.pop().reqs
            self.flights[-1].steps.extend([first, *steps[:-1]])
            self.flights.append(Flight([last], reqs))
        else:
            self.serving.done.extend([*steps[:-1], last])
            self.serving.device.clock.jump_to(last.end_ns)
        return [[*more, *end] for more, end in zip(said, ends, strict=True)]

    def land(self) -> None:
        """Wait for the oldest steps in flight, whose tokens are read then."""
        steps, reqs = self.flights.popleft()
        self.serving.device.clock.jump_to(steps[-1].end_ns)
        if any(_is_unheard(req) for req in reqs):
            (step,) = steps  # nobody was retracted since a leap
            heard = [
                [] if _is_unheard(req) else tokens
                for req, tokens in zip(reqs, step.tokens, strict=True)
            ]
            steps = [replace(step, tokens=heard)]
        self.serving.done.extend(steps)

    def _placed(self, batch: Forward) -> list[tuple[Served, int]]:
        decoding = {req.rid for req in batch.decoding_reqs or ()}
        work: list[tuple[Served, int]] = []
        for req, count, past in zip(batch.reqs, batch.extend_lens, batch.prefix_lens, strict=True):
            served = self.serving.requests[req.rid]
            if req.rid not in decoding:
                self._place(served, req, past)
            work.append((served, count))
        return work

    def _place(self, served: Served, req: Req, past: int) -> None:
        """Begin a chunk where the scheduler does; what it dropped is to be said again."""
        request = served.request
        request.emitted = len(req.output_ids)
        request.num_tokens = len(req.origin_input_ids) + request.emitted
        # The scheduler cuts what a client may have by its own limits.
        request.output_tokens = min(request.output_tokens, req.sampling_params.max_new_tokens)
        if not served.computed:
            request.cached_tokens = past
        served.place(past)


def last_tokens(step: Step) -> list[int]:
    """The token that each request of a step will have said, or one that nobody reads."""
    return [tokens[-1] if tokens else END for tokens in step.tokens]


def _is_unheard(req: Req) -> bool:
    """Whether the scheduler drops the token: of who was retracted meanwhile, or is refused."""
    return req.is_retracted or req.to_finish is not None


class LandingEvent:
    """What the scheduler waits for before it reads a step's tokens, in place of a CUDA event."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def record(self, stream: object = None) -> None:
        """The step before it in the stream is the one in flight."""

    def synchronize(self) -> None:
        """Wait for the step."""
        self._launcher.land()


class VirtualModule:
    """torch's module of the device, whose events are virtual."""

    def __init__(self, module: object, launcher: Launcher) -> None:
        self._module = module
        self._launcher = launcher

    def Event(self) -> LandingEvent:
        """An event after the step launched last."""
        return LandingEvent(self._launcher)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class VirtualWorker:
    """Computes nothing. SGLang's own `TpModelWorker` supplies the rest."""

    launcher: Launcher
    num_tokens: int
    max_running_requests: int
    model_config: Any

    def _init_model_runner(self) -> None:
        self._model_runner = HollowRunner(
            self.model_config, self.num_tokens, self.max_running_requests
        )

    def forward_batch_generation(self, batch: Forward, *_: object, **__: object) -> Any:
        """Start a batch; the tokens are those that its requests say."""
        said = srt("managers.scheduler").torch.tensor(last_tokens(self.launcher.launch(batch)))
        return srt("managers.utils").GenerationBatchResult(next_token_ids=said)


def worker_class(launcher: Launcher, num_tokens: int, max_running_requests: int) -> type[Any]:
    """The class that SGLang makes its worker from."""
    own = {
        "launcher": launcher,
        "num_tokens": num_tokens,
        "max_running_requests": max_running_requests,
    }
    theirs = srt("managers.tp_worker").TpModelWorker
    return type("VirtualTpModelWorker", (VirtualWorker, theirs), own)
