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
    (when `chunk_tokens` is not 0) one step that also computes tokens which nobody hears: of
    prompts, or beyond an output's end. The tokens of a request come out at the steps of the rows
    between its two indices.
    """

    __slots__ = ("pause_ns", "pause_step_ns", "paused", "stall_ns")

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self.stall_ns = array("q")
        """Gaps between two tokens of one request with a preemption between them."""
        self.pause_ns = array("q")
        """Gaps that span steps in which the request stood still, prompts being computed."""
        self.pause_step_ns = array("q")
        """For each of them, the decode step that ended it: the gap there would have been."""
        self.paused = array("q")
        """How many requests waited that long."""

    def note_pause(self, gap_ns: int, step_ns: int, sequences: int) -> None:
        """`sequences` of the row logged next waited `gap_ns` for its first step of `step_ns`."""
        self.pause_ns.append(gap_ns)
        self.pause_step_ns.append(step_ns)
        self.paused.append(sequences)

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
            seen = np.flatnonzero(taken)
            first, last = int(seen[0]), int(seen[-1])
            waits.append(decode_run(size, bucket).steps_ns(first, last + 1)[seen - first])
            counts.append(taken[seen] * size)
        if not self.paused:
            return np.concatenate(waits), np.concatenate(counts)
        return self._with_pauses(np.concatenate(waits), np.concatenate(counts))

    def _with_pauses(
        self, waits: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pool with each pause's gap in place of the step that ended it."""
        gaps, steps, paused = (
            np.frombuffer(column, dtype=np.int64)
            for column in (self.pause_ns, self.pause_step_ns, self.paused)
        )
        values, place = np.unique(np.concatenate((waits, gaps, steps)), return_inverse=True)
        pooled = np.zeros(len(values), dtype=np.int64)
        np.add.at(pooled, place, np.concatenate((counts, paused, -paused)))
        return values, pooled
