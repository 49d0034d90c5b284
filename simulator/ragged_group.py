"""The requests of one engine that decode and draft, each of which advances by its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from servecast.simulator.decode_group import DecodeGroup
from servecast.simulator.request import Request


class RaggedGroup(DecodeGroup):
    """Requests that gain as many tokens in a step as are accepted of their drafts.

    Its members' counts are their own and always up to date. Before each step a member has KV slots
    for a number of tokens beyond those that are known to be computed, in whole blocks (SGLang's
    `page_aligned_decode_alloc_lens`); what it has been given it keeps.
    """

    __slots__ = ("_reserve",)

    def __init__(self, block_size: int, reserve: int) -> None:
        """`reserve` slots are kept for each member."""
        super().__init__(block_size)
        self._reserve = reserve

    def __contains__(self, request: Request) -> bool:
        return request in self._bases

    def __iter__(self) -> Iterator[Request]:
        return iter(self._bases)

    def join(self, request: Request) -> None:
        """Take in a request whose prompt is computed: it has slots for no more."""
        self._bases[request] = request.num_computed_tokens
        self.size = len(self._bases)

    def leave(self, request: Request) -> None:
        """Let a request go."""
        del self._bases[request]
        self.size = len(self._bases)

    def blocks_needed(self, steps: int) -> int:
        """New blocks that the next step takes; no more of them is known."""
        if steps != 1:
            raise ValueError(f"what {steps} steps with drafts take is not known beforehand")
        held = self._bases.items()
        return sum(self._wanted(each, slots) - self._blocks(slots) for each, slots in held)

    def slots_needed(self) -> int:
        """KV slots among those blocks; of who has just joined the rest of its last one too."""
        held, size = self._bases.items(), self._block_size
        slots = ((self._wanted(each, slots) * size, slots) for each, slots in held)
        return sum(max(0, wanted - given) for wanted, given in slots)

    def reserve(self) -> None:
        """Give all members the blocks of the next step."""
        for request, slots in self._bases.items():
            request.num_blocks = self._wanted(request, slots)
            self._bases[request] = max(slots, request.num_blocks * self._block_size)

    def check(self, requests: Sequence[Request]) -> None:
        """Raise if the group does not consist of `requests`."""
        if self._bases.keys() != set(requests):
            raise AssertionError(
                f"a decode group of {self.size}, {len(requests)} decoding requests"
            )

    def _wanted(self, request: Request, slots: int) -> int:
        """Blocks that a request has before its next step."""
        return self._blocks(max(slots, request.num_computed_tokens + self._reserve))

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._block_size)
