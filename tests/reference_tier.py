"""The host tier block by block, in one order of use: slow, and shares nothing with the other."""

from __future__ import annotations

from collections.abc import Iterable


class ReferenceTier:
    """Blocks in the order in which they go; those in `pins` stay."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.order: list[int] = []
        self.pins: dict[int, int] = {}

    def find(self, blocks: Iterable[int]) -> tuple[int, bool]:
        """How many of the blocks are there from the first, and whether none is pinned."""
        there: list[int] = []
        for block in blocks:
            if block not in self.order:
                break
            there.append(block)
        return len(there), not any(self.pins.get(block) for block in there)

    def store(self, blocks: list[int]) -> list[int] | None:
        """The blocks that were not there, now pinned; None where others cannot make room."""
        missing = [block for block in blocks if block not in self.order]
        excess = len(self.order) + len(missing) - self.total
        may_go = [each for each in self.order if not self.pins.get(each) and each not in blocks]
        if excess > len(may_go):
            return None
        for block in may_go[: max(0, excess)]:
            self.order.remove(block)
        self.order += missing
        self.pin(missing)
        return missing

    def pin(self, blocks: Iterable[int]) -> None:
        """Keep them."""
        for block in blocks:
            self.pins[block] = self.pins.get(block, 0) + 1

    def unpin(self, blocks: Iterable[int]) -> None:
        """Keep them no longer."""
        for block in blocks:
            self.pins[block] -= 1

    def use(self, blocks: list[int]) -> None:
        """The last of them goes first of them all, and they after all others."""
        for block in reversed(blocks):
            if block in self.order:
                self.order.remove(block)
                self.order.append(block)
