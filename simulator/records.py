"""Per-request results, as columns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from servecast.simulator.packed_rows import PackedRows
from servecast.simulator.request import Request

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """Finished requests in order of their index in the workload; all times in nanoseconds."""

    index: Ints
    arrival_ns: Ints
    scheduled_ns: Ints
    """When the first step that computes the request's prompt starts."""
    first_token_ns: Ints
    finish_ns: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    """Tokens that came out: the truth, cut by max_tokens and the model's length."""
    cached_tokens: Ints
    """Prompt tokens found in the prefix cache at first admission."""
    host_tokens: Ints
    """Prompt tokens behind those that were loaded from the host's memory."""
    preemptions: Ints
    replica: Ints
    first_run: Ints
    last_run: Ints
    """Rows of the replica's run log: the tokens after the first came out in rows first … last."""

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, rows: slice | Ints) -> Records:
        """Some of the requests."""
        return Records(*[getattr(self, field.name)[rows] for field in fields(self)])

    @property
    def ttft_ns(self) -> Ints:
        """Time to first token: from arrival to the first token."""
        return self.first_token_ns - self.arrival_ns

    @property
    def e2e_ns(self) -> Ints:
        """From arrival to the last token."""
        return self.finish_ns - self.arrival_ns

    @property
    def tpot_ns(self) -> NDArray[np.float64]:
        """Mean time per output token after the first; NaN for a request of one token."""
        gaps = self.output_tokens - 1
        spent = (self.finish_ns - self.first_token_ns).astype(np.float64)
        undefined = np.full(len(self), np.nan)
        return np.asarray(np.divide(spent, gaps, out=undefined, where=gaps > 0), dtype=np.float64)


COLUMNS = tuple(field.name for field in fields(Records))


class Recorder:
    """Takes finished requests in as they come; one per engine."""

    __slots__ = ("_replica", "rows")

    def __init__(self, replica: int) -> None:
        self._replica = replica
        self.rows = PackedRows(COLUMNS)
        """The columns of `Records`, in order of finish."""

    def record(self, request: Request, finish_ns: int, last_run: int) -> None:
        """Note a finished request."""
        self.rows.append(
            request.index,
            request.arrival_ns,
            request.scheduled_ns or 0,
            request.first_token_ns or 0,
            finish_ns,
            request.prompt_tokens,
            request.output_tokens,
            request.cached_tokens,
            request.host_tokens,
            request.num_preemptions,
            self._replica,
            request.first_run,
            last_run,
        )


def merge(recorders: list[Recorder]) -> Records:
    """The records of all engines, in order of the workload."""

    def joined(name: str) -> Ints:
        return np.concatenate([recorder.rows.column(name) for recorder in recorders])

    order = np.argsort(joined("index"), kind="stable")
    return Records(*[joined(name)[order] for name in COLUMNS])
