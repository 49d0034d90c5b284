"""What an engine scheduled, step by step, to be laid beside another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from servecast.timewarp.device import Step


class LoggedBatch(NamedTuple):
    """One step: when, and who was computed from where."""

    start_ns: int
    end_ns: int
    computed: tuple[tuple[int, int, int], ...]
    """(index of the request, tokens computed, tokens in the cache before), as scheduled.

    What is in the cache before a request's first step was found there: another one's prefix.
    """
    preempted: tuple[int, ...]
    """Who lost its blocks so that this step could be."""


class BatchLog:
    """The sequence of batches of one replica."""

    def __init__(self, replica: int) -> None:
        self.replica = replica
        self.batches: list[LoggedBatch] = []

    def note(self, step: Step) -> None:
        """Append a step."""
        computed = tuple(
            (served.request.index, count, past)
            for (served, count), past in zip(step.work, step.past, strict=True)
        )
        self.batches.append(
            LoggedBatch(step.start_ns, step.end_ns, computed, tuple(step.preempted))
        )

    def lines(self) -> Iterator[str]:
        """One JSON object a step, with the replica's number."""
        for batch in self.batches:
            yield json.dumps({"replica": self.replica, **batch._asdict()}) + "\n"
