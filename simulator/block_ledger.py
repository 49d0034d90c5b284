"""The KV blocks of transformers with block sharing, as its `BlockLedger` keeps them."""

from __future__ import annotations

from collections.abc import Iterator

from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.request import Request


class BlockLedger(KvBlocks):
    """A pool whose complete blocks are found by what they hold, one block for each content.

    Of the engine it keeps: a block is complete once the step after the one that fills it is
    scheduled; whoever completes one that exists already takes that one and frees its own; what
    ended requests held is kept until blocks run short, and then given up all at once; what a
    request loses is kept by nobody. Paired: `hold` and `give_back`, or `drop` where it is lost.
    """

    __slots__ = ("_holders", "_kept_own", "_unheld")

    def __init__(self, total: int, block_size: int) -> None:
        super().__init__(total, block_size)
        self._holders: dict[int, int] = {}
        """How many requests hold each block that has a name."""
        self._unheld: set[int] = set()
        """Names of the kept blocks."""
        self._kept_own = 0
        """Kept blocks without a name, which nobody will find."""

    @property
    def kept(self) -> int:
        """Blocks that nobody holds and that are not free."""
        return self._kept_own + len(self._unheld)

    def find(self, request: Request) -> int:
        """How many blocks its known tokens begin with are here; one token at least is not found."""
        found = 0
        for name in _names(request, 0, (request.num_tokens - 1) // self.block_size):
            if name not in self._holders:
                break
            found += 1
        return found

    def hold(self, request: Request, blocks: int) -> None:
        """Give the request its first `blocks` blocks, which were found."""
        self._add_holder(request, 0, blocks)
        request.num_blocks = request.num_cached_blocks = blocks

    def mark(self, request: Request, blocks: int) -> None:
        """Note that the request's first `blocks` blocks are complete."""
        done = request.num_cached_blocks
        if blocks > done:
            self.release(self._add_holder(request, done, blocks))
            request.num_cached_blocks = blocks

    def named(self, request: Request) -> int:
        """How many of its complete blocks have names."""
        return min(request.num_cached_blocks, request.named_blocks())

    def give_back(self, request: Request) -> None:
        """Release the blocks of an ended request; those that are complete are kept."""
        for name in self._unhold(request):
            self._unheld.add(name)
        named = self.named(request)
        self._kept_own += request.num_cached_blocks - named
        self.release(request.num_blocks - request.num_cached_blocks)
        request.num_blocks = request.num_cached_blocks = 0

    def drop(self, request: Request) -> None:
        """Release the blocks that a request loses; those of others stay."""
        named = self.named(request)
        unheld = list(self._unhold(request))
        for name in unheld:
            del self._holders[name]
        self.release(len(unheld) + request.num_blocks - named)
        request.num_blocks = request.num_cached_blocks = 0

    def evict(self) -> bool:
        """Give up the kept blocks; whether there were any."""
        kept = self.kept
        for name in self._unheld:
            del self._holders[name]
        self._unheld.clear()
        self._kept_own = 0
        self.release(kept)
        return kept > 0

    def check(self, held: int) -> None:
        """Raise if blocks were lost or doubled, `held` being those without a name in use."""
        super().check(held + self._kept_own + len(self._holders))

    def _add_holder(self, request: Request, start: int, end: int) -> int:
        """Count the request among those who hold its named blocks; how many were there before."""
        before = 0
        for name in _names(request, start, end):
            holders = self._holders.get(name)
            before += holders is not None
            self._holders[name] = (holders or 0) + 1
            self._unheld.discard(name)
        return before

    def _unhold(self, request: Request) -> Iterator[int]:
        """The names of those of its complete blocks that nobody else holds."""
        for name in _names(request, 0, request.num_cached_blocks):
            self._holders[name] -= 1
            if not self._holders[name]:
                yield name


def _names(request: Request, start: int, end: int) -> Iterator[int]:
    """The names of the request's blocks from `start` up to `end`, as far as they have any."""
    at = 0
    for first, length in request.chain[:-1]:
        yield from range(first + max(start - at, 0), first + min(end - at, length))
        at += length
