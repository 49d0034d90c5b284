"""The working set: what a prefix cache of a size would find, for all sizes at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from servecast.traces.prefixes import Prefixes
from servecast.traces.workload import Ints

MAX_REFERENCES = 200_000
"""Blocks looked up beyond which only a sample of the blocks is followed."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class WorkingSet:
    """The share of prompt blocks that a cache finds that forgets the least recently used first."""

    cache_tokens: NDArray[np.float64]
    """Sizes of the cache, ascending; from the last one on nothing more is found."""
    block_hit: NDArray[np.float64]
    """The share found at each size."""
    sampled: float
    """The share of distinct blocks that were followed; 1 for all."""


def working_set(known: Prefixes, prompt_tokens: Ints, points: int = 200) -> WorkingSet:
    """The curve of a cache that all requests share, in the order of the workload.

    A block is found by a cache that holds as many blocks as were named since its last mention, it
    included (Mattson et al. 1970). A prompt's ends count as used before its beginning, so that ends
    are forgotten first, as engines do. Of long workloads a sample of the blocks stands for all,
    and mentions that it has too few or too many are taken for those of the hottest blocks
    (Waldspurger et al., FAST 2015).
    """
    named = _references(known.up_to(-(-prompt_tokens // known.block_tokens)))
    sampled, mentions = 1.0, float(len(named))
    if len(named) > MAX_REFERENCES:
        sampled = MAX_REFERENCES / len(named)
        mentions = float(MAX_REFERENCES)
        named = named[_is_sampled(named, sampled)]
    needed = np.sort(stack_distances(named))
    found = needed[np.isfinite(needed)]
    if not len(found):
        return WorkingSet(np.zeros(1), np.zeros(1), sampled)
    sizes = np.unique(found[np.linspace(0, len(found) - 1, points).astype(np.int64)])
    hits = np.searchsorted(found, sizes, side="right") + (mentions - len(named))
    share = np.asarray(np.clip(hits / mentions, 0.0, 1.0), dtype=np.float64)
    return WorkingSet(sizes / sampled * known.block_tokens, share, sampled)


def stack_distances(named: Ints) -> NDArray[np.float64]:
    """For each mention of a block the least cache, in blocks, that finds it; infinite for a first.

    The distinct blocks since the last mention at p are the mentions i in between whose own last
    one was at or before p, and all mentions up to p are such: so they need no window to be counted.
    """
    order = np.argsort(named, kind="stable")
    again = named[order][1:] == named[order][:-1]
    last = np.full(len(named), -1, np.int64)
    last[order[1:][again]] = order[:-1][again]
    distinct = _not_above_before(last) - (last + 1)
    return np.where(last < 0, np.inf, distinct + 1.0)


def _not_above_before(values: Ints) -> Ints:
    """For each value how many before it are not above it, by merging halves of doubling width."""
    places = np.arange(len(values))
    counts = np.zeros(len(values), np.int64)
    width = 1
    while width < len(values):
        pair = places // (2 * width)
        is_left = places // width % 2 == 0
        order = np.lexsort((~is_left, values, pair))  # of equals the left half comes first
        lefts = np.cumsum(is_left[order])
        begins = np.searchsorted(pair[order], pair[order])
        before = np.concatenate(([0], lefts))[begins]
        counts[order] += np.where(is_left[order], 0, lefts - before)
        width *= 2
    return counts


def _references(listed: Prefixes) -> Ints:
    """All block ids that the prompts name, one by one, each prompt's last block first."""
    total = int(listed.length.sum())
    ends = np.cumsum(listed.length)
    steps = np.arange(total) - np.repeat(ends - listed.length, listed.length)
    ids: Ints = np.repeat(listed.first, listed.length) + steps
    counts = listed.blocks()
    last = np.cumsum(counts)
    row_start = np.repeat(last - counts, counts)
    row_end = np.repeat(last, counts)
    reversed_ids: Ints = ids[row_start + row_end - 1 - np.arange(total)]
    return reversed_ids


def _is_sampled(ids: Ints, share: float) -> NDArray[np.bool_]:
    """The same ids always: those whose hash falls into the share."""
    hashed = ids.astype(np.uint64) * _MIX
    hashed ^= hashed >> np.uint64(32)
    hashed *= _MIX
    return np.asarray((hashed >> np.uint64(32)) < np.uint64(int(share * 2**32)))
