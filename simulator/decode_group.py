"""The requests of one engine that decode, advanced together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from servecast.simulator.request import Request


class DecodeGroup:
    """Requests that each gain one token a step; a step, or a thousand, costs O(1).

    A request's computed tokens are its `base` plus the group's step counter. It writes its next
    token into a new KV block when that sum divides by the block size, so the residues of the bases
    tell how many blocks any number of coming steps needs.
    """

    __slots__ = ("_bases", "_block_size", "_residues", "base_sum", "size", "steps")

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._bases: dict[Request, int] = {}
        self._residues = [0] * block_size
        self.size = 0
        self.steps = 0
        """Decode steps since the engine started."""
        self.base_sum = 0

    @property
    def context_sum(self) -> int:
        """Cached tokens of all requests before the next step."""
        return self.base_sum + self.size * self.steps

    def contexts(self) -> list[int]:
        """Cached tokens of each request before the next step."""
        steps = self.steps
        return [base + steps for base in self._bases.values()]

    def join(self, request: Request) -> None:
        """Take in a request whose prompt is computed and whose latest token is not."""
        base = request.num_computed_tokens - self.steps
        request.base = base
        self._bases[request] = base
        self.base_sum += base
        self._residues[base % self._block_size] += 1
        self.size += 1

    def leave(self, request: Request) -> None:
        """Let a request go, its token counts brought up to date."""
        base = self._bases.pop(request)
        self.base_sum -= base
        self._residues[base % self._block_size] -= 1
        self.size -= 1
        computed = base + self.steps
        emitted = computed - request.num_computed_tokens
        request.emitted += emitted
        request.num_tokens += emitted
        request.num_computed_tokens = computed
        request.num_blocks = -(-computed // self._block_size)

    def check(self, requests: Sequence[Request]) -> None:
        """Raise if the group does not consist of `requests`, or its sums are not theirs."""
        residues = [0] * self._block_size
        for request in requests:
            residues[request.base % self._block_size] += 1
        base_sum = sum([request.base for request in requests])
        if (self.size, self.base_sum, self._residues) != (len(requests), base_sum, residues):
            raise AssertionError(
                f"a decode group of {self.size}, {len(requests)} decoding requests"
            )

    def needs_block(self, request: Request) -> bool:
        """Whether the request's next token starts a new block."""
        return (request.base + self.steps) % self._block_size == 0

    def needing_blocks(self, requests: Iterable[Request]) -> list[Request]:
        """Those of `requests` who are in the group and whose next token starts a new block."""
        bases, size = self._bases, self._block_size
        first = -self.steps % size
        return [each for each in requests if each in bases and bases[each] % size == first]

    def blocks_needed(self, steps: int) -> int:
        """New blocks that the next `steps` steps take."""
        block_size, residues = self._block_size, self._residues
        last = -self.steps % block_size
        if steps == 1:
            return residues[last]
        if steps >= block_size:
            cycles, steps = divmod(steps, block_size)
            return cycles * self.size + (self.blocks_needed(steps) if steps else 0)
        first = last + 1 - steps
        if first >= 0:
            return sum(residues[first : last + 1])
        return sum(residues[: last + 1]) + sum(residues[first:])

    def steps_within(self, free_blocks: int, at_most: int) -> int:
        """How many of the next `at_most` steps the free blocks allow, 0 if not even one."""
        if (at_most // self._block_size + 1) * self.size <= free_blocks:
            return at_most
        steps = min(at_most, free_blocks // self.size * self._block_size)
        while steps < at_most and self.blocks_needed(steps + 1) <= free_blocks:
            steps += 1
        return steps
