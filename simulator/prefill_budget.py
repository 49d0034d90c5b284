"""What one pass of SGLang may still admit."""

from __future__ import annotations

from servecast.simulator.kv_blocks import KvBlocks


class PrefillBudget:
    """Prompt tokens of the step, and tokens of the pool beside those promised to who runs.

    Promised tokens are a sum of shares, so they are no integers. The pool is looked at anew each
    time: cached pages that an admitted request begins with are no longer free.
    """

    __slots__ = ("_page_size", "_pool", "_promised", "_taken", "chunk_tokens")

    def __init__(self, pool: KvBlocks, chunk_tokens: int, promised_tokens: float) -> None:
        """`promised_tokens` of the pool are those that running requests may yet say."""
        self.chunk_tokens = chunk_tokens
        """Prompt tokens that the step still takes."""
        self._page_size = pool.block_size
        self._pool = pool
        self._promised = promised_tokens
        self._taken = 0

    @property
    def remaining(self) -> float:
        """Free tokens that are promised to nobody."""
        return self._free_tokens - self._promised

    @property
    def has_capacity(self) -> bool:
        """Whether the pool is not promised away."""
        return self.remaining > 0 and self._free_tokens > self._taken

    def fits(self, new_tokens: int, rest_tokens: int) -> bool:
        """Whether a request with so much to compute and to say fits beside what is promised."""
        return new_tokens + rest_tokens + self._page_size < self.remaining

    def first_chunk(self, new_tokens: int) -> int:
        """Tokens of a new request that the step takes: all, or up to the end of a page."""
        if self._paged(new_tokens) <= self.chunk_tokens:
            return new_tokens
        return self.chunk_tokens // self._page_size * self._page_size

    def next_chunk(self, new_tokens: int) -> int:
        """Tokens of a prompt computed in part that the step takes: some, however little is free."""
        spare = min(self.chunk_tokens, int(self.remaining))
        return min(new_tokens, spare if spare > 0 else self.chunk_tokens)

    def reserve(self, new_tokens: int, declared_tokens: int) -> None:
        """Account an admitted chunk, and the output declared where its prompt ends there."""
        tokens = self._paged(new_tokens)
        self.chunk_tokens -= tokens
        self._taken += tokens + self._page_size
        self._promised += tokens + self._page_size + declared_tokens

    @property
    def _free_tokens(self) -> int:
        return self._pool.free * self._page_size

    def _paged(self, tokens: int) -> int:
        return -(-tokens // self._page_size) * self._page_size
