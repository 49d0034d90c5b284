"""The id of a request's chain of blocks at any of its lengths."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class ChainKeys:
    """Equal for two requests as far as their chains are equal."""

    __slots__ = ("_block_tokens", "_ends", "_lasts")

    def __init__(self, chain: Sequence[tuple[int, int]], block_tokens: int) -> None:
        """`chain` are extents of ids, (first, how many), each for `block_tokens` tokens."""
        self._block_tokens = block_tokens
        self._ends = list(accumulate(length for _, length in chain))
        self._lasts = [first + length - 1 for first, length in chain]

    def __call__(self, tokens: int) -> int:
        """The id that ends at that many tokens, a multiple of the block's."""
        blocks = tokens // self._block_tokens
        extent = bisect_left(self._ends, blocks)
        return self._lasts[extent] - (self._ends[extent] - blocks)
