"""A second, naive prefix cache: every block on its own, as vLLM's block pool keeps them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Block:
    holders: int = 0
    name: int | None = None  # the id of the chain that it ends


class ReferenceCache:
    """Blocks in a free list, the first to go first; and by name, in the order they were cached."""

    def __init__(self, total: int) -> None:
        self.queue = [Block() for _ in range(total)]
        self.named: dict[int, list[Block]] = {}

    @property
    def free(self) -> int:
        return len(self.queue)

    def find(self, chain: list[int]) -> list[Block]:
        found: list[Block] = []
        for name in chain:
            if name not in self.named:
                break
            found.append(self.named[name][0])
        return found

    def hold(self, blocks: list[Block]) -> None:
        for block in blocks:
            if not block.holders:
                self.queue.remove(block)
            block.holders += 1

    def allocate(self, count: int) -> list[Block]:
        taken = [self.queue.pop(0) for _ in range(count)]
        for block in taken:
            if block.name is not None:
                self.named[block.name].remove(block)
                if not self.named[block.name]:
                    del self.named[block.name]
            block.name, block.holders = None, 1
        return taken

    def cache(self, blocks: list[Block], chain: list[int]) -> None:
        for block, name in zip(blocks, chain, strict=True):
            if block.name is None:
                block.name = name
                self.named.setdefault(name, []).append(block)

    def give_back(self, blocks: list[Block]) -> None:
        for block in reversed(blocks):
            block.holders -= 1
            if not block.holders:
                if block.name is None:
                    self.queue.insert(0, block)
                else:
                    self.queue.append(block)
