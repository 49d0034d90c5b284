"""What an emulated engine did, in the simulator's own records."""

from __future__ import annotations

from array import array

from servecast.simulator.records import Recorder
from servecast.simulator.token_log import TokenLog
from servecast.timewarp.batch_log import BatchLog
from servecast.timewarp.device import Step
from servecast.timewarp.oracle import END
from servecast.timewarp.served import Served


class Journal:
    """Takes in the steps of one replica, in order, as their tokens reach the clients."""

    def __init__(
        self, replica: int, batches: BatchLog | None = None, *, at_once: bool = False
    ) -> None:
        """Where a request has several tokens of one step they come out step by step, or all
        `at_once`, as accepted drafts do."""
        self.recorder = Recorder(replica)
        self.log = TokenLog()
        self.peak_blocks = 0
        self._batches = batches
        self._at_once = at_once
        self.ends_ns = array("q")
        """When the tokens of each row of the log were out."""

    @property
    def steps(self) -> int:
        """Steps recorded so far."""
        return len(self.ends_ns)

    def note(self, step: Step, now_ns: int) -> list[Served]:
        """Record a step whose tokens are out at `now_ns`, and return who has finished."""
        if self._batches is not None:
            self._batches.note(step)
        if step.riders:
            self.log.note_gaps(now_ns - self.ends_ns[-1], step.riders)
        finished: list[Served] = []
        for (served, _), tokens in zip(step.work, step.tokens, strict=True):
            if served.request.scheduled_ns is None:
                served.request.scheduled_ns = step.start_ns
            if tokens and not served.is_closed and self._hear(served, tokens, now_ns):
                finished.append(served)
        self._log_row(step)
        self.ends_ns.append(now_ns)
        return finished

    def _hear(self, served: Served, tokens: list[int], now_ns: int) -> bool:
        """Take what came out of a request; whether that was its last token."""
        request, row = served.request, self.steps
        if request.first_token_ns is None:
            request.first_token_ns = now_ns
            request.first_run = row
        else:
            self.log.note_gaps(now_ns - self.ends_ns[served.last_row], 1)
        served.last_row = row
        if self._at_once:
            self.log.note_gaps(0, len(tokens) - 1)
        else:
            served.last_row += len(tokens) - 1
        served.is_closed = tokens[-1] == END
        if served.is_closed:
            self.recorder.record(request, now_ns, row)
        return served.is_closed

    def _log_row(self, step: Step) -> None:
        self.log.note_step(step.start_ns, step.end_ns, step.batch, step.blocks_used)
        self.peak_blocks = max(self.peak_blocks, step.blocks_used)
