"""SGLang's prefix cache where it drafts from hidden states: of pairs of tokens."""

from __future__ import annotations

from itertools import pairwise

from servecast.simulator.radix_cache import RadixCache
from servecast.simulator.radix_node import Run
from servecast.simulator.request import Request

_PAIRS = -(1 << 100)
"""Below the ids of all blocks."""


class BigramCache(RadixCache):
    """An EAGLE head reads a token beside the hidden state before it, so KV is found by pairs.

    A page counts as found where its text goes on alike, for a token at least: two texts share a
    page less than they have blocks in common, and a text's last token begins no pair.
    """

    __slots__ = ("_chains", "_pairs")

    def __init__(self, total: int, block_size: int) -> None:
        super().__init__(total, block_size)
        self._pairs: dict[tuple[int, int], int] = {}
        """Pages with an id of their own: those behind which comes another than the next block."""
        self._chains: dict[Request, list[Run]] = {}

    def pages_of(self, tokens: int) -> int:
        """By how many pages a text of so many tokens is found."""
        return max(0, tokens - 1) // self.block_size

    def give_back(self, request: Request) -> None:
        """Release all pages of the request; those in the tree stay to be found while they are."""
        super().give_back(request)
        self._chains.pop(request, None)

    def chain(self, request: Request) -> list[Run]:
        """The ids of a request's pages: a block's own, if the block with the next id follows."""
        known = self._chains.get(request)
        if known is None:
            known = self._chains[request] = self._paired(request.chain)
        return known

    def _paired(self, blocks: list[Run]) -> list[Run]:
        chain: list[Run] = []
        for (first, length), (follower, _) in pairwise(blocks):
            last = first + length - 1
            if length > 1:
                chain.append((first, length - 1))
            if follower != last + 1:
                pair = (last, follower)
                last = self._pairs.setdefault(pair, _PAIRS - len(self._pairs))
            chain.append((last, 1))
        return [*chain, blocks[-1]]
