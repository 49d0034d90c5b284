"""What recurrent layers keep: one state, and copies of it where other requests can begin.

Lay it beside `MambaManager` of vLLM 0.32.0 in its cache mode `align`, which prefix caching takes.
The block of each place holds the state after exactly `(place + 1) × block_size` tokens, so prompts
are computed in chunks that end there (`chunk`). Without prefix caching a state is one block.
"""

from __future__ import annotations

from collections.abc import Sequence

from servecast.simulator.block_pool import Block, BlockPool
from servecast.simulator.single_type_cache import Columns, Demand, Keys, SingleTypeCache, columns
from servecast.simulator.stepped_request import SteppedRequest


class RecurrentCache(SingleTypeCache):
    """A group of recurrent layers whose states can be found again."""

    def __init__(
        self, pool: BlockPool, group: int, block_size: int, *, writes_checkpoints: bool
    ) -> None:
        """`writes_checkpoints` where the kernel gives out a state from within a prompt."""
        super().__init__(pool, group, block_size, block_size)
        self._writes_checkpoints = writes_checkpoints
        self._fresh: set[int] = set()
        """Keys of states that the step being scheduled computes: it cannot build on them yet."""
        self._checkpointed: set[SteppedRequest] = set()
        """Requests of which the step being scheduled writes a checkpoint."""
        self._removed: dict[SteppedRequest, int] = {}
        """By request: how many of its first blocks have been released."""

    def find(self, keys: Keys, at_most: int, groups: Sequence[int]) -> tuple[Columns, int]:
        """The last state that is cached: those before it are not asked for."""
        for blocks in range(at_most // self.block_size, 0, -1):
            row = self.pool.find(groups, keys(blocks * self.block_size))
            if row is not None:
                nulls = [[self.pool.null] * len(groups)] * (blocks - 1)
                return columns([*nulls, row], len(groups)), blocks * self.block_size
        return columns([], len(groups)), 0

    def needed(self, request: SteppedRequest, demand: Demand, found: Sequence[Block]) -> int:
        """A new state and a checkpoint; more than there is where the request has to wait."""
        if found and found[-1].key in self._fresh:
            return self.pool.total + 1
        writes = demand.end >= demand.prefill_end and self._writes(demand.computed, demand.end)
        if not demand.is_whole:
            (self._checkpointed.add if writes else self._checkpointed.discard)(request)
        new = self._blocks_for(demand.end) - len(found) - len(self.held.get(request, ()))
        return min(new, 2 if writes else 1) + self.pool.unheld(found)

    def allocate(self, request: SteppedRequest, demand: Demand) -> list[Block]:
        """The states at the end of the chunk and at its checkpoint, the null block before them."""
        held = self.held.setdefault(request, [])
        before, blocks = len(held), self._blocks_for(demand.end)
        states = 2 if request in self._checkpointed else 1
        held += [self.pool.null] * (blocks - states - before)
        held += self.pool.take(max(0, blocks - len(held)))
        return held[before:]

    def cache(
        self, request: SteppedRequest, keys: Keys, tokens: int, boundaries: Sequence[int]
    ) -> None:
        """Let the states be found after which others come back."""
        before = self._num_cached.get(request, 0)
        super().cache(request, keys, tokens, boundaries)
        held = self.held[request]
        fresh = held[before : tokens // self.block_size]
        last = boundaries[0] // self.block_size * self.block_size
        if tokens == last > 0:
            fresh.append(held[tokens // self.block_size - 1])
        self._fresh.update(block.key for block in fresh if block.key is not None)

    def remove_skipped(self, request: SteppedRequest, computed: int) -> None:
        """Release the states before that which the next step goes on from."""
        held = self.held.get(request, [])
        start = self._removed.get(request, 0)
        end = min((computed - 1) // self.block_size, len(held))
        if start < end:
            self.pool.release(reversed(held[start:end]))
            held[start:end] = [self.pool.null] * (end - start)
            self._removed[request] = end

    def free(self, request: SteppedRequest) -> None:
        """Release all blocks of the request, its last one to go first."""
        self._removed.pop(request, None)
        self._checkpointed.discard(request)
        super().free(request)

    def new_step_starts(self) -> None:
        """What was cached in the step before can be relied on."""
        self._fresh.clear()

    def chunk(self, demand: Demand, num_tokens: int, junction: int, most_tokens: int) -> int:
        """Where the demand is to end so that states lie at ends of blocks; maybe where it starts.

        `num_tokens` are all of the request's, `most_tokens` those of a step; at `junction` other
        requests came to part, and no state is cached.
        """
        size, start, end = self.block_size, demand.computed, demand.end
        if start >= demand.prefill_end:
            return end
        writes = end >= demand.prefill_end and self._writes(start, demand.prefill_end)
        if end < demand.prefill_end:
            aligned = end // size * size
            if aligned > start or size <= most_tokens:
                end = aligned
        stops = [] if writes else [(num_tokens - 1) // size * size]
        if start < junction < end:
            stops.append(start + (junction - start) // size * size)
        return max(start, min((stop for stop in stops if start < stop < end), default=end))

    def skipped_tokens(self, computed: int) -> int:
        """All but the last, after which its state stands."""
        return max(0, computed - 1)

    def _writes(self, start: int, end: int) -> bool:
        """Whether a chunk gives out the state at the last end of a block before its own end."""
        if not self._writes_checkpoints or start % self.block_size:
            return False
        return (end - 1) // self.block_size * self.block_size > start

    def _reachable(self, start: int, end: int, boundaries: Sequence[int]) -> Sequence[int]:
        """The state at each boundary."""
        places = {tokens // self.block_size - 1 for tokens in boundaries}
        return sorted(place for place in places if start <= place < end)
