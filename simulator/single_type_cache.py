"""What the layers of one group keep for each request: all tokens, or those in a window.

Lay it beside vLLM's `v1/core/single_type_kv_cache_manager.py` (0.32.0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from servecast.simulator.block_pool import Block, BlockPool
from servecast.simulator.stepped_request import SteppedRequest

Keys = Callable[[int], int]
"""From how many tokens a chain has to the id that all equal chains share."""

Columns = list[list[Block]]
"""For each of some groups the blocks of a request, from its first."""


class Demand(NamedTuple):
    """What a request asks the groups for, in tokens from its start."""

    computed: int
    """Computed before, or found."""
    end: int
    """To be computed up to here."""
    slots: int
    """To have room up to here: for what a drafter writes ahead, too."""
    prefill_end: int
    """Where its prompt ends: one preempted computes its output again, but for the last token."""
    is_whole: bool = False
    """Whether it is asked for the whole request, by which that is admitted, and nothing taken."""


class SingleTypeCache:
    """A group of full attention, which keeps every token until its request ends."""

    def __init__(self, pool: BlockPool, group: int, block_size: int, alignment: int) -> None:
        """`alignment` is what the length of a hit is a multiple of, in tokens."""
        self.pool = pool
        self.group = group
        self.block_size = block_size
        self.alignment = alignment
        self.held: dict[SteppedRequest, list[Block]] = {}
        """By request: a block for each `block_size` tokens, the null block where one is gone."""
        self._num_cached: dict[SteppedRequest, int] = {}
        """By request: how many of its blocks have been looked at for being cached."""

    def find(self, keys: Keys, at_most: int, groups: Sequence[int]) -> tuple[Columns, int]:
        """The longest cached part of up to `at_most` tokens in all of `groups`, which are alike.

        For each of them its blocks, and how many tokens they are.
        """
        rows: list[list[Block]] = []
        for end in range(self.block_size, at_most + 1, self.block_size):
            row = self.pool.find(groups, keys(end))
            if row is None:
                break
            rows.append(row)
        tokens = len(rows) * self.block_size
        tokens -= tokens % self.alignment
        return columns(rows[: tokens // self.block_size], len(groups)), tokens

    def needed(self, request: SteppedRequest, demand: Demand, found: Sequence[Block]) -> int:
        """Free blocks that the demand takes: new ones, and those in `found` that nobody holds."""
        return self._needed(request, self._blocks_for(demand.slots), found, demand.computed)

    def adopt(self, request: SteppedRequest, found: Sequence[Block], computed: int) -> None:
        """Give a new request what was found for it, `computed` tokens."""
        gone = self.skipped_tokens(computed) // self.block_size
        kept = found[gone:]
        self.pool.hold(kept)
        self.held[request] = [self.pool.null] * gone + list(kept)
        self._num_cached[request] = len(self.held[request])

    def allocate(self, request: SteppedRequest, demand: Demand) -> list[Block]:
        """What the request holds more than before; `needed` has said that it is free."""
        held = self.held.setdefault(request, [])
        new = self.pool.take(max(0, self._blocks_for(demand.slots) - len(held)))
        held += new
        return new

    def num_cached(self, request: SteppedRequest) -> int:
        """How many of its blocks, from the first, have been looked at for being cached."""
        return self._num_cached.get(request, 0)

    def settled_tokens(self, request: SteppedRequest, lookahead: int, *, caching: bool) -> int:
        """Up to how many tokens it needs no block more and, with `caching`, fills none."""
        settled = len(self.held[request]) * self.block_size - lookahead
        if caching:
            full = self._num_cached.get(request, 0) + 1
            settled = min(settled, full * self.block_size - 1)
        return settled

    def cache(
        self, request: SteppedRequest, keys: Keys, tokens: int, boundaries: Sequence[int]
    ) -> None:
        """Let be found what of the first `tokens` is worth it.

        Others come back at one of `boundaries`.
        """
        done, full = self._num_cached.get(request, 0), tokens // self.block_size
        if done >= full:
            return
        held = self.held[request]
        for place in self._reachable(done, full, boundaries):
            if held[place] is not self.pool.null:
                self.pool.cache(held[place], self.group, keys((place + 1) * self.block_size))
        self._num_cached[request] = full

    def remove_skipped(self, request: SteppedRequest, computed: int) -> None:
        """Release the blocks that nothing after `computed` tokens looks at."""
        held = self.held.get(request)
        gone = self.skipped_tokens(computed) // self.block_size
        if held is None or gone <= 0:
            return
        freed: list[Block] = []
        for place in range(min(gone, len(held)) - 1, -1, -1):
            if held[place] is self.pool.null:
                break
            freed.append(held[place])
            held[place] = self.pool.null
        self.pool.release(freed)

    def free(self, request: SteppedRequest) -> None:
        """Release all blocks of the request, its last one to go first."""
        self._num_cached.pop(request, None)
        self.pool.release(reversed(self.held.pop(request, ())))

    def new_step_starts(self) -> None:
        """What was cached in the step before can be relied on."""

    def skipped_tokens(self, computed: int) -> int:
        """Tokens that no token after `computed` looks at."""
        return 0

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def _needed(
        self, request: SteppedRequest, blocks: int, found: Sequence[Block], computed: int
    ) -> int:
        have = len(found) + len(self.held.get(request, ()))
        gone = self.skipped_tokens(computed) // self.block_size
        return max(0, blocks - max(have, gone)) + self.pool.unheld(found[gone:])

    def _reachable(self, start: int, end: int, boundaries: Sequence[int]) -> Sequence[int]:
        """Which of the blocks from `start` up to `end` a later request can begin after."""
        return range(start, end)


class WindowCache(SingleTypeCache):
    """A group of sliding windows: what is behind the window is released, and found no more."""

    def __init__(
        self,
        pool: BlockPool,
        group: int,
        block_size: int,
        alignment: int,
        *,
        window: int,
        most_blocks: int,
    ) -> None:
        """`most_blocks` is what a request holds at most, by which it is admitted."""
        super().__init__(pool, group, block_size, alignment)
        self._window = window
        self._most_blocks = most_blocks
        self._behind = -(-(window - 1) // block_size)
        """Blocks that the next token looks back on."""

    def find(self, keys: Keys, at_most: int, groups: Sequence[int]) -> tuple[Columns, int]:
        """The longest part whose last window is cached, or that is cached from the start."""
        rows: list[list[Block]] = []
        end = at_most // self.block_size
        for place in range(end - 1, -1, -1):
            row = self.pool.find(groups, keys((place + 1) * self.block_size))
            if row is None:
                rows.clear()
                continue
            if not rows:
                if (place + 1) * self.block_size % self.alignment:
                    continue
                end = place + 1
            rows.append(row)
            if len(rows) >= self._behind:
                break
        if len(rows) < self._behind:  # from the start, or nothing
            end = len(rows) - len(rows) * self.block_size % self.alignment // self.block_size
        nulls = [[self.pool.null] * len(groups)] * (end - len(rows))
        return columns([*nulls, *reversed(rows)][:end], len(groups)), end * self.block_size

    def needed(self, request: SteppedRequest, demand: Demand, found: Sequence[Block]) -> int:
        """A whole request takes as many as it holds at most, its window moving on."""
        blocks = self._blocks_for(demand.slots)
        if demand.is_whole:
            blocks = min(blocks, self._most_blocks)
        return self._needed(request, blocks, found, demand.computed)

    def skipped_tokens(self, computed: int) -> int:
        """What has left the window of the token that comes next."""
        return max(0, computed - self._window + 1)

    def _reachable(self, start: int, end: int, boundaries: Sequence[int]) -> Sequence[int]:
        """The window before each boundary."""
        kept: set[int] = set()
        for tokens in boundaries:
            last = tokens // self.alignment * self.alignment // self.block_size
            kept.update(range(max(start, last - self._behind), min(end, last)))
        return sorted(kept)


def columns(rows: Sequence[Sequence[Block]], groups: int) -> Columns:
    """Rows of a block for each group as a list for each group."""
    return [[row[group] for row in rows] for group in range(groups)]
