"""What is common to engines that skip and engines that step, for whoever drives or reads them."""

from __future__ import annotations

from typing import Protocol

from servecast.simulator.records import Recorder
from servecast.simulator.request import Request
from servecast.simulator.run_log import RunLog


class AnyEngine(Protocol):
    """One replica: passive and lazy. Who drives it calls `advance(t)`, then `submit` at t."""

    finished: list[Request]
    """Requests finished since the driver last took them."""

    @property
    def number(self) -> int:
        """Which of all replicas it is."""
        ...

    @property
    def now_ns(self) -> int:
        """Everything before it is decided."""
        ...

    @property
    def unfinished(self) -> int:
        """Requests that it has still to do with."""
        ...

    @property
    def outstanding(self) -> int:
        """Requests whose last token is not out yet."""
        ...

    @property
    def places(self) -> int:
        """Requests that it computes at once, at most."""
        ...

    @property
    def waiting(self) -> int:
        """Requests in its queue that nothing is computed of, or nothing is left of."""
        ...

    def kv_used(self, now_ns: int) -> float:
        """Share of its KV blocks that requests hold at `now_ns`."""
        ...

    @property
    def peak_blocks(self) -> int:
        """The most KV blocks that its requests held."""
        ...

    @property
    def log(self) -> RunLog:
        """What it did, step by step or run by run."""
        ...

    @property
    def recorder(self) -> Recorder:
        """Its finished requests."""
        ...

    def submit(self, request: Request, now_ns: int) -> None:
        """Queue `request` at `now_ns`, which no later call may precede."""
        ...

    def next_ns(self) -> int | None:
        """When what it has planned ends (a completion at the earliest then), or None when idle."""
        ...

    def advance(self, until_ns: int | None, *, to_finish: bool = False) -> None:
        """Commit what ends at or before `until_ns` (None: until it is idle).

        With `to_finish` nothing after what ends while `finished` is not empty.
        """
        ...
