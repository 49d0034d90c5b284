"""A run log of every gap between tokens as it was, not as it was priced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.batch import Batch
from servecast.primitives.decode_run import DecodeRun
from servecast.simulator.run_log import RunLog


class TokenLog(RunLog):
    """One row a step. Gaps are counted as tokens come out, since an engine may let steps
    overlap, wait for its own host, or give several tokens at once."""

    __slots__ = ("_gaps",)

    def __init__(self) -> None:
        super().__init__()
        self._gaps: Counter[int] = Counter()

    def note_step(self, start_ns: int, end_ns: int, batch: Batch, blocks_used: int) -> None:
        """The row of one step, and how many KV blocks requests held in it."""
        decoding = [group for group in batch.groups if group.is_decode]
        sequences = sum(group.sequences for group in decoding)
        context_sum = sum(group.context_sum for group in decoding)
        decoded = sum(group.query_tokens * group.sequences for group in decoding)
        self.append(
            start_ns,
            end_ns - start_ns,
            1,
            sequences,
            context_sum // sequences if sequences else 0,
            decoding[0].spread if decoding else 0,
            batch.tokens - decoded,
            blocks_used,
        )

    def note_gaps(self, ns: int, tokens: int) -> None:
        """So many tokens came out `ns` after the one before it of the same request."""
        if tokens:
            self._gaps[ns] += tokens

    def inter_token_ns(
        self, decode_run: Callable[[int, int], DecodeRun]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All inter-token times as (nanoseconds, how many tokens waited that long)."""
        waits = np.array(sorted(self._gaps), dtype=np.int64)
        counts = np.array([self._gaps[ns] for ns in waits.tolist()], dtype=np.int64)
        return waits, counts
