"""A workload: the requests that arrive, as columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.traces.classes import Classes
from servecast.traces.prefixes import Prefixes
from servecast.traces.sessions import Sessions

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests in order of arrival. Open loop by default; a `concurrency` makes it a closed loop.

    `output_tokens` is the truth, which no scheduler may read; `max_tokens` is what the client
    declared. In a closed loop the requests are taken in order, `concurrency` at a time, the next
    `think_ns` after one has finished, and `arrival_ns` (all zero) is not read. With `sessions` only
    the first request of each has a time of arrival, and a closed loop takes whole sessions.
    """

    name: str
    arrival_ns: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    max_tokens: Ints
    concurrency: int | None = None
    think_ns: int = 0
    prefixes: Prefixes | None = None
    """Which prompts begin alike; None where that is not known."""
    priorities: Ints | None = None
    """What an engine that serves by priority reads: the smallest goes first. None: all alike."""
    attribution: str = ""
    """What a report must say of the data's origin (licence, publisher)."""

    sessions: Sessions | None = None
    """Which request waits for which; None: nobody waits."""
    failed: int = 0
    """Rows of its file that are no requests here, because whoever was asked did not answer."""

    classes: Classes | None = None
    """Which class of service each request belongs to; None: nobody names any."""

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @property
    def is_open_loop(self) -> bool:
        """Whether every request comes at its own time, whatever becomes of the others."""
        return self.concurrency is None and self.sessions is None

    @property
    def rate_per_s(self) -> float:
        """Requests per second over the span of arrivals; 0 for one, a closed loop or sessions."""
        if not self.is_open_loop or len(self) < 2:
            return 0.0
        span_ns = int(self.arrival_ns[-1] - self.arrival_ns[0])
        return (len(self) - 1) * 1e9 / span_ns if span_ns else 0.0
