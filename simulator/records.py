"""Per-request results, as columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

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
    preemptions: Ints
    replica: Ints
    first_run: Ints
    last_run: Ints
    """Rows of the replica's run log: the tokens after the first came out in rows first … last."""

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, rows: slice) -> Records:
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
        return np.divide(spent, gaps, out=np.full(len(self), np.nan), where=gaps > 0)


class Recorder:
    """Takes finished requests in as they come; one per engine."""

    __slots__ = ("_columns", "_replica")

    def __init__(self, replica: int) -> None:
        self._replica = replica
        self._columns = tuple(array("q") for _ in fields(Records) if _.name != "replica")

    def record(self, request: Request, finish_ns: int, last_run: int) -> None:
        """Note a finished request."""
        row = (
            request.index,
            request.arrival_ns,
            request.scheduled_ns or 0,
            request.first_token_ns or 0,
            finish_ns,
            request.prompt_tokens,
            request.output_tokens,
            request.num_preemptions,
            request.first_run,
            last_run,
        )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def columns(self) -> dict[str, Ints]:
        """The columns of `Records`, in order of finish."""
        names = [field.name for field in fields(Records) if field.name != "replica"]
        columns = {
            name: np.frombuffer(column, dtype=np.int64)
            for name, column in zip(names, self._columns, strict=True)
        }
        columns["replica"] = np.full(len(self._columns[0]), self._replica, dtype=np.int64)
        return columns


def merge(recorders: list[Recorder]) -> Records:
    """The records of all engines, in order of the workload."""
    parts = [recorder.columns() for recorder in recorders]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["index"], kind="stable")
    return Records(**{name: column[order] for name, column in joined.items()})
