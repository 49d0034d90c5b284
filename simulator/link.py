"""One direction of what joins a replica's GPUs to their host's memory."""

from __future__ import annotations


class Link:
    """Carries KV blocks, one transfer after the other.

    Each GPU brings its own part of a block over a link of its own, all at once: so a block takes as
    long as the part of one GPU.
    """

    __slots__ = ("_block_bytes", "_block_ns", "_free_ns", "blocks")

    def __init__(self, block_ns: float, block_bytes: int) -> None:
        """`block_ns` is how long the part of one GPU takes, `block_bytes` what all of them move."""
        self._block_ns = block_ns
        self._block_bytes = block_bytes
        self._free_ns = 0
        self.blocks = 0
        """Blocks carried, or on their way."""

    @property
    def moved_bytes(self) -> int:
        """The same in bytes."""
        return self.blocks * self._block_bytes

    def end_ns(self, now_ns: int, blocks: int) -> int:
        """When a transfer would be over that is ordered now."""
        start_ns = self._free_ns if self._free_ns > now_ns else now_ns
        return start_ns + round(blocks * self._block_ns)

    def send(self, now_ns: int, blocks: int) -> int:
        """Order a transfer: when it will be over."""
        self._free_ns = self.end_ns(now_ns, blocks)
        self.blocks += blocks
        return self._free_ns
