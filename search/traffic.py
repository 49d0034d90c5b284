"""What the closed form reads of a workload: a handful of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError, UnsupportedError
from servecast.traces.statistics import ideal_hits
from servecast.traces.workload import Workload

Floats = NDArray[np.float64]

QUANTILES = 20
"""Prompt lengths that stand for the workload's distribution."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the closed form reads of a workload."""

    rate_per_s: float
    """0 for a closed loop."""
    concurrency: int
    """0 for an open loop."""
    prompts: Floats
    """Equally likely prompt lengths, ascending; with a prefix cache what it does not hold of them,
    at best."""
    output_mean: float
    output_cv2: float
    """Squared coefficient of variation of output lengths."""
    context_mean: float
    """Cached tokens of a decoding request met at some moment: long answers are met more often."""
    held_mean: float
    """Of these, those that it shares with nobody."""
    arrival_cv2: float
    """Squared coefficient of variation of the gaps between arrivals."""
    output_rate: float
    """Output tokens over the span of the arrivals, per second; infinite where all come at once."""

    @classmethod
    def of(
        cls, workload: Workload, max_model_len: int, *, enable_prefix_caching: bool = False
    ) -> Traffic:
        """The statistics of the part of the workload that fits the model length.

        A prefix cache is taken to forget nothing: nothing is ruled out for a prompt that it may
        find. InputError where no prompt fits it, UnsupportedError for sessions.
        """
        if workload.sessions is not None:
            raise UnsupportedError(
                f"`{workload.name}` has sessions, which are not searched for yet",
                hint="`servecast simulate` serves them, one deployment at a time",
            )
        fits = workload.prompt_tokens < max_model_len
        if not fits.any():
            raise InputError(
                f"every prompt of workload `{workload.name}` exceeds max_model_len {max_model_len}",
                hint="raise deployment.max_model_len, or serve a model with a longer context",
            )
        prompts = workload.prompt_tokens[fits]
        new = prompts - _found(workload)[fits] if enable_prefix_caching else prompts
        outputs = np.minimum(workload.output_tokens[fits], max_model_len - prompts)
        middles = (np.arange(QUANTILES) + 0.5) / QUANTILES * 100
        gaps = np.diff(workload.arrival_ns).astype(np.float64)
        span_s = float(np.ptp(workload.arrival_ns[fits])) / 1e9
        mean = float(outputs.mean())
        gap_mean = float(gaps.mean()) if len(gaps) else 0.0
        return cls(
            rate_per_s=workload.rate_per_s,
            concurrency=workload.concurrency or 0,
            prompts=np.maximum(1.0, np.rint(np.percentile(new, middles))),
            output_mean=max(mean, 1.0),
            output_cv2=float(outputs.var()) / mean**2 if mean else 0.0,
            context_mean=float(np.average(prompts + outputs / 2, weights=outputs)),
            held_mean=float(np.average(new + outputs / 2, weights=outputs)),
            arrival_cv2=float(gaps.var()) / gap_mean**2 if gap_mean else 1.0,
            output_rate=float(outputs.sum()) / span_s if span_s else inf,
        )


def _found(workload: Workload) -> NDArray[np.int64]:
    """Tokens of each prompt that a prefix cache may find; one at least is computed."""
    if workload.prefixes is None:
        return np.zeros_like(workload.prompt_tokens)
    hits, _, _ = ideal_hits(workload.prefixes, workload.prompt_tokens)
    return np.minimum(hits * workload.prefixes.block_tokens, workload.prompt_tokens - 1)
