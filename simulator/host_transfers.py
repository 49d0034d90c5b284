"""What is under way between a replica's GPUs and its host's memory, and for whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from servecast.simulator.extent_map import Piece, pieces
from servecast.simulator.host_tier import Found, Tier
from servecast.simulator.link import Link
from servecast.simulator.request import Request


class Transfer(NamedTuple):
    """Blocks on a link."""

    end_ns: int
    run: Sequence[Piece]


class HostTransfers:
    """Stores and loads of one replica, a link for each direction. Blocks are a request's own count.

    Paired: `offer` or `load`, and `close`. What is over is taken in by whoever polls, as an engine
    does once a step.
    """

    def __init__(self, tier: Tier, to_host: Link, to_gpu: Link) -> None:
        self.tier = tier
        self.to_host, self.to_gpu = to_host, to_gpu
        self._stores: deque[Transfer] = deque()
        self._loads: deque[Transfer] = deque()
        self._seen: dict[Request, range] = {}
        """Which blocks of a request the tier has given to it, or been offered by it."""
        self._next: dict[Request, int] = {}
        """The first of its blocks that the tier has not taken in."""

    def poll(self, now_ns: int) -> None:
        """Take in what was over by then."""
        while self._stores and self._stores[0].end_ns <= now_ns:
            self.tier.written(self._stores.popleft().run)
        while self._loads and self._loads[0].end_ns <= now_ns:
            self.tier.unpin(self._loads.popleft().run)

    def next_load_ns(self) -> int | None:
        """When the next load is over that has not been taken in; None where none is under way."""
        return self._loads[0].end_ns if self._loads else None

    def next_ns(self) -> int | None:
        """The same of a load or a store."""
        ends_ns = [transfers[0].end_ns for transfers in (self._loads, self._stores) if transfers]
        return min(ends_ns, default=None)

    def find(self, request: Request, start: int, end: int) -> Found:
        """What the tier has of the request's blocks from its `start`-th up to its `end`-th."""
        return self.tier.find(pieces(request.chain, start, end))

    def load(self, request: Request, start: int, blocks: int, now_ns: int) -> int:
        """Bring blocks that `find` found, from the `start`-th: when they will be there."""
        run = list(pieces(request.chain, start, start + blocks))
        self.tier.pin(run)
        end_ns = self.to_gpu.send(now_ns, blocks)
        self._loads.append(Transfer(end_ns, run))
        seen = self._seen.get(request, range(start, start))
        self._seen[request] = range(min(start, seen.start), max(start + blocks, seen.stop))
        self._next[request] = start + blocks
        return end_ns

    def offer(self, request: Request, blocks: int) -> Sequence[Piece] | None:
        """Make room for what the tier lacks of the request's first `blocks`: that is to be sent.

        None where there is no room: they can be offered again.
        """
        first = self._next.get(request, 0)
        if blocks <= first:
            return ()
        seen = self._seen.get(request, range(first, first))
        self._seen[request] = range(seen.start, max(blocks, seen.stop))
        run = self.tier.store(pieces(request.chain, first, blocks))
        if run is not None:
            self._next[request] = blocks
        return run

    def send(self, run: Sequence[Piece], now_ns: int) -> None:
        """Order what was offered, once it is computed."""
        if run:
            end_ns = self.to_host.send(now_ns, sum(length for _, length in run))
            self._stores.append(Transfer(end_ns, run))

    def close(self, request: Request) -> None:
        """A request is over."""
        self._next.pop(request, None)
        seen = self._seen.pop(request, None)
        if seen:
            self.tier.use(pieces(request.chain, seen.start, seen.stop))
