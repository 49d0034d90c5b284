"""A run log of every gap between tokens as it was, not as it was priced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from servecast.primitives.decode_run import DecodeRun
from servecast.simulator.run_log import RunLog


class TokenLog(RunLog):
    """One row a step. Gaps are counted as tokens come out, since an engine may let steps
    overlap, wait for its own host, or give several tokens at once."""

    __slots__ = ("_gaps",)

    def __init__(self) -> None:
        super().__init__()
        self._gaps: Counter[int] = Counter()

    def note_gaps(self, ns: int, tokens: int) -> None:
        """So many tokens came out `ns` after the one before it of the same request."""
        self._gaps[ns] += tokens

    def inter_token_ns(
        self, decode_run: Callable[[int, int], DecodeRun]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All inter-token times as (nanoseconds, how many tokens waited that long)."""
        waits = np.array(sorted(self._gaps), dtype=np.int64)
        counts = np.array([self._gaps[ns] for ns in waits.tolist()], dtype=np.int64)
        return waits, counts
