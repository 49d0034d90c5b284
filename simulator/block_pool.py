"""Every KV block of an engine: who holds it, what can be found in it, and which goes next.

Lay it beside vLLM's `v1/core/block_pool.py`. Its one free queue falls into three parts here, as
blocks without contents return to its head and those with contents to its tail: returned blanks,
the last one first; blocks never used, by number; cached ones, that released longest ago first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class Block:
    """One block of the pool; the null block stands for tokens that are kept nowhere."""

    __slots__ = ("group", "holders", "key", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.holders = 0
        self.key: int | None = None
        """The id of the chain that ends with its contents, where it can be found by that."""
        self.group = 0
        """Which group can find it."""


class BlockPool:
    """The blocks that all groups share. Paired verbs: `take` or `hold`, and `release`."""

    __slots__ = ("_blanks", "_cached", "_found", "_unused", "free", "null", "total")

    def __init__(self, num_blocks: int, groups: int) -> None:
        """`num_blocks` that requests can hold, beside the null block, whose number is 0."""
        self.total = self.free = num_blocks
        self.null = Block(0)
        self._unused = 1
        self._blanks: list[Block] = []
        self._cached: OrderedDict[Block, None] = OrderedDict()
        self._found: list[dict[int, list[Block]]] = [{} for _ in range(groups)]
        """By group and key, in the order in which copies were cached."""

    def find(self, groups: Sequence[int], key: int) -> list[Block] | None:
        """A block for each of the groups, or None where one of them has none."""
        found: list[Block] = []
        for group in groups:
            copies = self._found[group].get(key)
            if copies is None:
                return None
            found.append(copies[0])
        return found

    def unheld(self, blocks: Iterable[Block]) -> int:
        """How many of the blocks are free, and would be no more once they are held."""
        return sum(not block.holders for block in blocks if block is not self.null)

    def take(self, count: int) -> list[Block]:
        """The next `count` free blocks, forgotten as what they were."""
        taken = [self._next() for _ in range(count)]
        for block in taken:
            block.holders = 1
        self.free -= count
        return taken

    def hold(self, blocks: Iterable[Block]) -> None:
        """One more holder for each of the blocks, which `find` answered."""
        for block in blocks:
            if block is self.null:
                continue
            if not block.holders:
                del self._cached[block]
                self.free -= 1
            block.holders += 1

    def release(self, blocks: Iterable[Block]) -> None:
        """One holder less for each; those that nobody holds are free, the first to go first."""
        blanks: list[Block] = []
        for block in blocks:
            if block is self.null:
                continue
            block.holders -= 1
            if block.holders:
                continue
            self.free += 1
            if block.key is None:
                blanks.append(block)
            else:
                self._cached[block] = None
        self._blanks.extend(reversed(blanks))

    def cache(self, block: Block, group: int, key: int) -> None:
        """Let the group find the block by that key, and by no other."""
        if block.key == key:
            return
        self.forget(block)
        block.key, block.group = key, group
        self._found[group].setdefault(key, []).append(block)

    def forget(self, block: Block) -> None:
        """Let nobody find the block any more."""
        if block.key is None:
            return
        copies = self._found[block.group][block.key]
        copies.remove(block)
        if not copies:
            del self._found[block.group][block.key]
        block.key = None

    def _next(self) -> Block:
        if self._blanks:
            return self._blanks.pop()
        if self._unused <= self.total:
            self._unused += 1
            return Block(self._unused - 1)
        block, _ = self._cached.popitem(last=False)
        self.forget(block)
        return block
