"""The pool of KV cache blocks of one engine."""

from __future__ import annotations

from servecast.errors import InputError
from servecast.simulator.request import Request


class KvBlocks:
    """Counts blocks of `block_size` tokens. Paired verbs: `allocate` and `release`."""

    __slots__ = ("block_size", "free", "peak_used", "total")

    def __init__(self, total: int, block_size: int) -> None:
        """`total` blocks that requests can hold (the engine's null block not counted)."""
        if total < 1:
            raise InputError(f"a KV cache of {total} blocks holds nothing: at least 1 is needed")
        self.total: int = total
        self.block_size: int = block_size
        self.free: int = total
        self.peak_used: int = 0

    @property
    def used(self) -> int:
        """Blocks that requests hold."""
        return self.total - self.free

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold `tokens` tokens."""
        return -(-tokens // self.block_size)

    def allocate(self, blocks: int) -> None:
        """Take `blocks` from the pool; the caller has seen that they are free."""
        self.free -= blocks
        used = self.total - self.free
        if used > self.peak_used:
            self.peak_used = used

    def release(self, blocks: int) -> None:
        """Give `blocks` back."""
        self.free += blocks

    def cache(self, request: Request, blocks: int) -> None:
        """Note that the request's first `blocks` blocks are full: of no use to a plain pool."""

    def give_back(self, request: Request) -> None:
        """Release all blocks of the request."""
        self.free += request.num_blocks
        request.num_blocks = 0

    def check(self, held: int) -> None:
        """Raise if blocks were lost or doubled, `held` being what requests hold in all."""
        if self.free < 0 or self.free + held != self.total:
            raise AssertionError(f"{self.free} free + {held} held ≠ {self.total} blocks")
