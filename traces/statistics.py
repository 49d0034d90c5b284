"""Statistics: what a workload looks like, in the figures that decide how hard it is to serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from servecast.traces.classes import NOBODY
from servecast.traces.prefixes import Prefixes
from servecast.traces.quantities import NS_PER_S
from servecast.traces.sessions import Sessions
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
class SessionStatistics:
    """Who waits for whom."""

    sessions: int
    requests_mean: float
    """Requests of a session."""
    requests_max: int
    think_p50_s: float
    """Of the requests that follow another one; 0 where none does."""
    think_p99_s: float


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """The requests of one class."""

    name: str
    requests: int
    input_tokens: TokenStatistics
    output_tokens: TokenStatistics


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one workload."""

    name: str
    rows: int
    arrivals: ArrivalStatistics | None
    """None for a closed loop and for sessions, which have no times of arrival."""
    input_tokens: TokenStatistics
    output_tokens: TokenStatistics
    correlation: float | None
    """Pearson's, between input and output tokens; None where one of them does not vary."""
    prefixes: PrefixStatistics | None
    """None where the workload does not say which prompts begin alike."""
    sessions: SessionStatistics | None
    classes: tuple[ClassStatistics, ...]
    """Empty where no request names one."""
    attribution: str


def statistics(workload: Workload) -> Statistics:
    """The statistics of a workload of at least one request."""
    return Statistics(
        name=workload.name,
        rows=len(workload),
        arrivals=_arrivals(workload) if workload.is_open_loop else None,
        input_tokens=_tokens(workload.prompt_tokens),
        output_tokens=_tokens(workload.output_tokens),
        correlation=_correlation(workload.prompt_tokens, workload.output_tokens),
        prefixes=_sharing(workload.prefixes, workload.prompt_tokens),
        sessions=None if workload.sessions is None else _waiting(workload.sessions),
        classes=tuple(_by_class(workload)),
        attribution=workload.attribution,
    )


def _tokens(tokens: Ints) -> TokenStatistics:
    p50, p95, p99 = np.percentile(tokens, [50, 95, 99]).tolist()
    return TokenStatistics(float(tokens.mean()), p50, p95, p99, int(tokens.max()))


def _by_class(workload: Workload) -> Iterator[ClassStatistics]:
    classes = workload.classes or NOBODY
    for number, name in enumerate(classes.names):
        mine = np.flatnonzero(classes.numbers == number)
        inputs, outputs = workload.prompt_tokens[mine], workload.output_tokens[mine]
        yield ClassStatistics(name, len(mine), _tokens(inputs), _tokens(outputs))


def _correlation(inputs: Ints, outputs: Ints) -> float | None:
    if np.ptp(inputs) == 0 or np.ptp(outputs) == 0:
        return None
    return float(np.corrcoef(inputs, outputs)[0, 1])


def ideal_hits(known: Prefixes, prompt_tokens: Ints) -> tuple[Ints, Ints, int]:
    """What a cache that forgets nothing finds of each prompt: blocks, of how many, and in the end.

    Equal ids are equal chains, so a block is known exactly if its id has been seen before. Ids that
    always occur together are counted together, as a piece.
    """
    listed = known.up_to(-(-prompt_tokens // known.block_tokens))
    ends = listed.first + listed.length
    cuts = np.unique(np.concatenate((listed.first, ends)))
    begin, end = np.searchsorted(cuts, listed.first), np.searchsorted(cuts, ends)
    pieces = end - begin
    offset = np.cumsum(pieces) - pieces
    piece: Ints = np.arange(int(pieces.sum())) + np.repeat(begin - offset, pieces)
    row = np.repeat(np.repeat(np.arange(len(listed)), np.diff(listed.starts)), pieces)
    size = np.append(np.diff(cuts), 0)
    unique, first = np.unique(piece, return_index=True)
    is_new = np.zeros(len(piece), np.bool_)
    is_new[first] = True
    blocks = listed.blocks()
    new = np.bincount(row[is_new], size[piece[is_new]], len(listed)).astype(np.int64)
    return blocks - new, blocks, int(size[unique].sum())


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


def _waiting(sessions: Sessions) -> SessionStatistics:
    requests = np.bincount(sessions.numbers())
    pauses_ns = sessions.think_ns[~sessions.is_first]
    p50, p99 = np.percentile(pauses_ns, [50, 99]).tolist() if len(pauses_ns) else (0.0, 0.0)
    return SessionStatistics(
        sessions=len(requests),
        requests_mean=float(requests.mean()),
        requests_max=int(requests.max()),
        think_p50_s=p50 / NS_PER_S,
        think_p99_s=p99 / NS_PER_S,
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
