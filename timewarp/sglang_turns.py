"""The clients of one emulated SGLang, asked once a turn of its event loop."""

from __future__ import annotations

from servecast.errors import ServecastError
from servecast.simulator.request import Request
from servecast.timewarp.driver import IDLE_TURNS
from servecast.timewarp.journal import Journal
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_mail import Outbox, request_message, shutdown_message


class Turns:
    """Where the scheduler's loop looks for requests, and where it sleeps when there are none.

    The loop is SGLang's and never returns, so who drives it is called from inside: `take` at the
    top of every turn, `maybe_sleep` (of SGLang's `IdleSleeper`) when nothing is left to do.
    """

    outbox: Outbox

    def __init__(
        self, serving: Serving, journal: Journal, block_size: int, *, are_sent: bool = False
    ) -> None:
        """`block_size` is that of the chains of the requests.

        Of those that `are_sent` the prompts are computed elsewhere.
        """
        self.rejected: list[int] = []
        """Indices of requests that the engine did not take."""
        self._serving = serving
        self._arrivals = serving.arrivals
        self._journal = journal
        self._block_size = block_size
        self._are_sent = are_sent
        self._open = 0
        self._idle = 0
        self._is_over = False

    def take(self) -> list[object]:
        """What has come since the last turn; the tokens of that turn are out.

        Of all this nothing takes time, where the clock flows.
        """
        with self._serving.device.clock.held():
            return self._turn()

    def _turn(self) -> list[object]:
        clock, steps = self._serving.device.clock, self._journal.steps
        finished = self._note()
        self._open -= finished
        self._arrivals.finished(finished, clock.now_ns())
        if self._is_over:
            self._is_over = False
            return [shutdown_message()]
        messages = [self._admit(request) for request in self._arrivals.due(clock.now_ns())]
        self._idle = 0 if messages or self._journal.steps > steps else self._idle + 1
        if self._idle == IDLE_TURNS:
            self._wait()
        return messages

    def maybe_sleep(self) -> None:
        """Jump to the next arrival, or end the loop: SGLang says that it has nothing to do."""
        self._idle = 0
        if self._serving.done:
            return  # somebody ended without a step, which the next turn notes
        coming_ns = self._arrivals.next_ns()
        if coming_ns is not None:
            self._serving.device.clock.jump_to(coming_ns)
        elif self._open:
            raise ServecastError(f"SGLang is idle, and {self._open} of its requests are not over")
        else:
            self._is_over = True

    def _admit(self, request: Request) -> object:
        served = Served(request, self._block_size)
        self._serving.requests[str(request.index)] = served
        self._open += 1
        is_flowing = self._serving.device.clock.is_flowing
        return request_message(served, stream=is_flowing, is_sent=self._are_sent)

    def _note(self) -> int:
        """Record the steps that are over; how many requests are."""
        clock, requests = self._serving.device.clock, self._serving.requests
        finished: dict[str, int] = {}
        while self._serving.done:
            step = self._serving.done.popleft()
            out_ns = clock.now_ns() if clock.is_flowing else step.end_ns
            for served in self._journal.note(step, out_ns):
                finished[str(served.request.index)] = served.request.output_tokens
        ended = self.outbox.drain()
        declared = {rid: end.tokens for rid, end in ended.items() if end.reason != "abort"}
        if declared != finished:
            raise ServecastError(
                f"SGLang ended requests with tokens {declared}, and {finished} came out, at "
                f"{clock.now_ns() / 1e9:.6f} s"
            )
        for rid, end in ended.items():
            request = requests.pop(rid).request
            if end.reason == "abort":
                self._reject(request)
        return len(ended)

    def _reject(self, request: Request) -> None:
        if request.first_token_ns is not None:
            raise ServecastError(
                f"SGLang gave up request {request.index} after some of its tokens",
                hint="the KV pool may be too small for it; give more blocks",
            )
        self.rejected.append(request.index)

    def _wait(self) -> None:
        """Jump to the next arrival: an engine that schedules nothing may do so when more comes."""
        self._idle = 0
        clock, coming_ns = self._serving.device.clock, self._arrivals.next_ns()
        if coming_ns is None:
            raise ServecastError(
                f"SGLang has {self._open} requests and schedules none of them, at "
                f"{clock.now_ns() / 1e9:.6f} s",
                hint="the KV pool may be too small for the request that is first in line",
            )
        clock.jump_to(coming_ns)
