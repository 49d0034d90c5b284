"""What one pass of SGLang may still admit."""

from __future__ import annotations

from collections.abc import Callable

from servecast.simulator.kv_blocks import KvBlocks


class PrefillBudget:
    """Prompt tokens of the step, and tokens of the pool beside those promised to who runs.

    Promised tokens are a sum of shares, so they are no integers; they are added up, in SGLang's
    order, only where a bound on them decides nothing. The pool is looked at anew each time: cached
    pages that an admitted request begins with are no longer free.
    """

    __slots__ = (
        "_at_most",
        "_decoding",
        "_page_size",
        "_pool",
        "_promise",
        "_promised",
        "_reserved",
        "_taken",
        "chunk_tokens",
    )

    def __init__(
        self,
        pool: KvBlocks,
        chunk_tokens: int,
        promise: Callable[[], float],
        at_most: float,
        decoding: int = 0,
    ) -> None:
        """`promise` adds up the pool's tokens that running requests may yet say: `at_most` so many.

        `decoding` requests are to be computed beside the prompts, a token each.
        """
        self.chunk_tokens = chunk_tokens - decoding
        """Prompt tokens that the step still takes."""
        self._page_size = pool.block_size
        self._pool = pool
        self._promise = promise
        self._promised: float | None = None
        self._at_most = at_most + decoding
        self._decoding = decoding
        self._reserved: list[int] = []
        """Of who was admitted, in order."""
        self._taken = decoding

    @property
    def remaining(self) -> float:
        """Free tokens that are promised to nobody."""
        if self._promised is None:
            self._promised = self._promise() + self._decoding
            for tokens in self._reserved:
                self._promised += tokens
        return self._free_tokens - self._promised

    @property
    def has_capacity(self) -> bool:
        """Whether the pool is not promised away."""
        return self._leaves(0) and self._free_tokens > self._taken

    def fits(self, new_tokens: int, rest_tokens: int) -> bool:
        """Whether a request with so much to compute and to say fits beside what is promised."""
        return self._leaves(new_tokens + rest_tokens + self._page_size)

    def first_chunk(self, new_tokens: int) -> int:
        """Tokens of a new request that the step takes: all, or up to the end of a page."""
        if self._paged(new_tokens) <= self.chunk_tokens:
            return new_tokens
        return self.chunk_tokens // self._page_size * self._page_size

    def next_chunk(self, new_tokens: int) -> int:
        """Tokens of a prompt computed in part that the step takes: some, however little is free."""
        spare = self.chunk_tokens
        if not self._leaves(spare):
            spare = min(spare, int(self.remaining))
        return min(new_tokens, spare if spare > 0 else self.chunk_tokens)

    def reserve(self, new_tokens: int, declared_tokens: int) -> None:
        """Account an admitted chunk, and the output declared where its prompt ends there."""
        tokens = self._paged(new_tokens)
        self.chunk_tokens -= tokens
        self._taken += tokens + self._page_size
        reserved = tokens + self._page_size + declared_tokens
        self._at_most += reserved
        if self._promised is None:
            self._reserved.append(reserved)
        else:
            self._promised += reserved

    def _leaves(self, tokens: int) -> bool:
        """Whether more than so many tokens are free and promised to nobody."""
        return self._free_tokens - self._at_most > tokens or self.remaining > tokens

    @property
    def _free_tokens(self) -> int:
        return self._pool.free * self._page_size

    def _paged(self, tokens: int) -> int:
        return -(-tokens // self._page_size) * self._page_size
