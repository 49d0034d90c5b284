"""What an engine did, as columns: one row a run of equal steps."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.decode_run import DecodeRun
from servecast.simulator.packed_rows import PackedRows

COLUMNS = (
    "start_ns",
    "duration_ns",
    "steps",
    "sequences",
    "context",
    "spread",
    "chunk_tokens",
    "blocks_used",
)


class RunLog(PackedRows):
    """Runs of steps in order. Inter-token times, occupancy and the timeline are read from it.

    A row is a run of `steps` decode steps of `sequences` sequences from mean context `context`, or
    (when `chunk_tokens` is not 0) one step that also computes prompt tokens. The tokens of a
    request come out at the steps of the rows between its two indices.
    """

    __slots__ = ("stall_ns",)

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self.stall_ns = array("q")
        """Gaps between two tokens of one request with a preemption between them."""

    def inter_token_ns(
        self, decode_run: Callable[[int, int], DecodeRun]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All inter-token times as (nanoseconds, how many tokens waited that long), unsorted."""
        mixed = self.column("chunk_tokens") > 0
        waits = [self.column("duration_ns")[mixed], np.frombuffer(self.stall_ns, dtype=np.int64)]
        counts = [self.column("sequences")[mixed], np.ones(len(self.stall_ns), dtype=np.int64)]
        decode = ~mixed
        sequences, spread = self.column("sequences")[decode], self.column("spread")[decode]
        context, steps = self.column("context")[decode], self.column("steps")[decode]
        order = np.lexsort((spread, sequences))
        keys = np.stack((sequences[order], spread[order]))
        cuts = np.flatnonzero(np.any(np.diff(keys, axis=1) != 0, axis=0)) + 1
        for rows in np.split(order, cuts) if len(order) else []:
            size, bucket = int(sequences[rows[0]]), int(spread[rows[0]])
            ends = context[rows] + steps[rows]
            length = int(ends.max()) + 1
            started = np.bincount(context[rows], minlength=length)
            taken = np.cumsum(started - np.bincount(ends, minlength=length))[:-1]
            run = decode_run(size, bucket)
            run.reach(len(taken))
            prefix = np.frombuffer(run.prefix_ns, dtype=np.int64)[: len(taken) + 1]
            seen = taken > 0
            waits.append(np.diff(prefix)[seen])
            counts.append(taken[seen] * size)
        return np.concatenate(waits), np.concatenate(counts)
