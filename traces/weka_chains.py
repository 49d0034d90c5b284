"""Which prompts of WEKA's runs begin alike, from references to earlier rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from servecast.traces.prefixes import Prefixes, cut
from servecast.traces.workload import Ints

BLOCK_TOKENS = 64
Extents = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class WekaPrompt:
    """What one row says of its prompt."""

    blocks: int
    """Whole blocks that it has."""
    like: int | None
    """The earlier row whose first `keep` blocks it begins with."""
    keep: int
    opening: tuple[int, int] | None = None
    """Tokens of the tools and of the system prompt that its run begins with, where known."""


class _Ids:
    """Ids for blocks: new ones, and those of what whole runs begin with."""

    def __init__(self) -> None:
        self.free = 0
        self._openings: dict[tuple[int, ...], tuple[int, int]] = {}

    def new(self, blocks: int) -> tuple[int, int]:
        """An extent that nobody else has."""
        self.free += blocks
        return self.free - blocks, blocks

    def opening(self, tool_tokens: int, system_tokens: int) -> Extents:
        """What all runs with so many tokens of tools and of system prompt begin with."""
        tools = tool_tokens // BLOCK_TOKENS
        both = (tool_tokens + system_tokens) // BLOCK_TOKENS
        named = (((tool_tokens,), tools), ((tool_tokens, system_tokens), both - tools))
        for tokens, blocks in named:
            if tokens not in self._openings:
                self._openings[tokens] = self.new(blocks)
        return [self._openings[tokens] for tokens, blocks in named if blocks]


def weka_prefixes(prompts: Iterable[WekaPrompt]) -> Prefixes:
    """The prefixes of all rows: what each shares with an earlier one, then ids of its own.

    Runs share nothing but openings of equal length, which are taken to be equal: they are the
    agent's own text.
    """
    chains = list(_chains(prompts))
    counts = [len(extents) for extents in chains]
    flat: Ints = np.array(list(chain.from_iterable(chains)), np.int64).reshape(-1, 2)
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    return Prefixes(BLOCK_TOKENS, starts, flat[:, 0], flat[:, 1])


def _chains(prompts: Iterable[WekaPrompt]) -> Iterator[Extents]:
    known: list[Extents] = []
    ids = _Ids()
    for prompt in prompts:
        extents: Extents = []
        if prompt.like is not None:
            extents = cut(known[prompt.like], prompt.keep)
        elif prompt.opening is not None:
            extents = cut(ids.opening(*prompt.opening), prompt.blocks)
        _lengthen(extents, ids, prompt.blocks - sum(length for _, length in extents))
        known.append(extents)
        yield extents


def _lengthen(extents: Extents, ids: _Ids, blocks: int) -> None:
    """Add so many new blocks, to the last extent where that ends in the last id given out."""
    if not blocks:
        return
    first, length = ids.new(blocks)
    if extents and sum(extents[-1]) == first:
        last, before = extents.pop()
        first, length = last, before + length
    extents.append((first, length))
