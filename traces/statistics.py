"""Statistics: what a workload looks like, in the figures that decide how hard it is to serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servecast.traces.prefixes import Prefixes, cut
from servecast.traces.quantities import NS_PER_S
from servecast.traces.workload import Ints, Workload

WINDOWS_S = (1, 10, 60)


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """One length column, in tokens; percentiles by linear interpolation."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: int


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """How uneven the count of arrivals is between windows of one length; Poisson disperses 1."""

    window_s: int
    index_of_dispersion: float
    """Variance of the count over its mean, across whole windows."""
    peak_over_mean: float


@dataclass(frozen=True, slots=True)
class ArrivalStatistics:
    """When requests come. A figure that too few requests define is None or left out."""

    span_s: float
    rate_per_s: float
    """Gaps per second of span, as `Workload.rate_per_s`."""
    interarrival_cv: float | None
    windows: tuple[WindowStatistics, ...]
    """Those window lengths of `WINDOWS_S` that fit at least twice."""


@dataclass(frozen=True, slots=True)
class PrefixStatistics:
    """What prompts share, as a cache that forgets nothing and learns prompts alone would find."""

    block_tokens: int
    blocks: int
    """Of all prompts together."""
    unique_blocks: int
    """The blocks that such a cache ends up with."""
    block_hit: float
    """The share of blocks that an earlier prompt has had."""
    token_hit: float
    """The share of prompt tokens in them."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one workload."""

    name: str
    rows: int
    arrivals: ArrivalStatistics | None
    """None for a closed loop, which has no times of arrival."""
    input_tokens: TokenStatistics
    output_tokens: TokenStatistics
    correlation: float | None
    """Pearson's, between input and output tokens; None where one of them does not vary."""
    prefixes: PrefixStatistics | None
    """None where the workload does not say which prompts begin alike."""
    attribution: str


def statistics(workload: Workload) -> Statistics:
    """The statistics of a workload of at least one request."""
    return Statistics(
        name=workload.name,
        rows=len(workload),
        arrivals=None if workload.concurrency is not None else _arrivals(workload),
        input_tokens=_tokens(workload.prompt_tokens),
        output_tokens=_tokens(workload.output_tokens),
        correlation=_correlation(workload.prompt_tokens, workload.output_tokens),
        prefixes=_sharing(workload.prefixes, workload.prompt_tokens),
        attribution=workload.attribution,
    )


def _tokens(tokens: Ints) -> TokenStatistics:
    p50, p95, p99 = np.percentile(tokens, [50, 95, 99]).tolist()
    return TokenStatistics(float(tokens.mean()), p50, p95, p99, int(tokens.max()))


def _correlation(inputs: Ints, outputs: Ints) -> float | None:
    if np.ptp(inputs) == 0 or np.ptp(outputs) == 0:
        return None
    return float(np.corrcoef(inputs, outputs)[0, 1])


def ideal_hits(known: Prefixes, prompt_tokens: Ints) -> tuple[Ints, Ints, int]:
    """What a cache that forgets nothing finds of each prompt: blocks, of how many, and in the end.

    Equal ids are equal chains, so a block is known exactly if its id has been seen before.
    """
    seen: set[int] = set()
    hits, blocks = np.zeros_like(prompt_tokens), np.zeros_like(prompt_tokens)
    for row, tokens in enumerate(prompt_tokens.tolist()):
        ids: list[int] = []
        for first, length in cut(known.extents(row), -(-tokens // known.block_tokens)):
            ids += range(first, first + length)
        hits[row], blocks[row] = sum(each in seen for each in ids), len(ids)
        seen.update(ids)
    return hits, blocks, len(seen)


def _sharing(known: Prefixes | None, prompt_tokens: Ints) -> PrefixStatistics | None:
    if known is None:
        return None
    hits, blocks, unique = ideal_hits(known, prompt_tokens)
    hit_tokens = np.minimum(hits * known.block_tokens, prompt_tokens)
    return PrefixStatistics(
        known.block_tokens,
        int(blocks.sum()),
        unique,
        block_hit=int(hits.sum()) / max(int(blocks.sum()), 1),
        token_hit=int(hit_tokens.sum()) / int(prompt_tokens.sum()),
    )


def _arrivals(workload: Workload) -> ArrivalStatistics:
    since_first_ns = workload.arrival_ns - workload.arrival_ns[0]
    gaps_ns = np.diff(since_first_ns)
    span_ns = int(since_first_ns[-1])
    windows = tuple(
        _window(since_first_ns, window_s)
        for window_s in WINDOWS_S
        if span_ns >= 2 * window_s * NS_PER_S
    )
    return ArrivalStatistics(
        span_s=span_ns / NS_PER_S,
        rate_per_s=workload.rate_per_s,
        interarrival_cv=float(gaps_ns.std() / gaps_ns.mean()) if span_ns else None,
        windows=windows,
    )


def _window(since_first_ns: Ints, window_s: int) -> WindowStatistics:
    window_ns = window_s * NS_PER_S
    whole = int(since_first_ns[-1]) // window_ns
    windows, filled = np.unique(since_first_ns // window_ns, return_counts=True)
    filled = filled[windows < whole]
    mean = float(filled.sum()) / whole
    # Empty windows are counted, not stored: a sparse trace may last for years.
    squares = float(((filled - mean) ** 2).sum()) + (whole - len(filled)) * mean**2
    return WindowStatistics(
        window_s,
        index_of_dispersion=squares / whole / mean,
        peak_over_mean=float(filled.max()) / mean,
    )
