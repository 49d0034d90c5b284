"""Records made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servecast.simulator.records import Records

SECOND = 1_000_000_000


def made_records(
    arrival_s: Sequence[float],
    first_token_s: Sequence[float],
    finish_s: Sequence[float],
    output_tokens: Sequence[int],
    scheduled_s: Sequence[float] | None = None,
) -> Records:
    """Requests with these times, scheduled when they arrive unless said otherwise."""
    zeros = np.zeros(len(arrival_s), dtype=np.int64)

    def nanoseconds(times_s: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.rint(np.asarray(times_s, dtype=np.float64) * SECOND).astype(np.int64)

    return Records(
        index=np.arange(len(arrival_s)),
        arrival_ns=nanoseconds(arrival_s),
        scheduled_ns=nanoseconds(scheduled_s or arrival_s),
        first_token_ns=nanoseconds(first_token_s),
        finish_ns=nanoseconds(finish_s),
        prompt_tokens=zeros + 1,
        output_tokens=np.asarray(output_tokens, dtype=np.int64),
        cached_tokens=zeros,
        host_tokens=zeros,
        preemptions=zeros,
        replica=zeros,
        first_run=zeros,
        last_run=zeros,
    )
