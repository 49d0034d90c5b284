"""What is under way between a replica's GPUs and its host's memory, and for whom."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from servecast.simulator.extent_map import Piece, pieces, without
from servecast.simulator.host_tier import Found, Tier
from servecast.simulator.link import Link
from servecast.simulator.request import Request


class Transfer(NamedTuple):
    """Blocks on a link."""

    end_ns: int
    run: Sequence[Piece]
    request: Request
    """Whose they are."""


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
        self._unseen: dict[Request, list[Piece]] = {}
        """Of these, what was on its way for another request when it was offered."""
        self._storing: Counter[Request] = Counter()
        """How many stores of a request are under way, or leave when its step is over."""
        self._next: dict[Request, int] = {}
        """The first of its blocks that the tier has not taken in."""

    def poll(self, now_ns: int) -> None:
        """Take in what was over by then."""
        while self._stores and self._stores[0].end_ns <= now_ns:
            store = self._stores.popleft()
            self.tier.written(store.run)
            self._storing[store.request] -= 1
            if not self._storing[store.request]:
                del self._storing[store.request]
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
        self._loads.append(Transfer(end_ns, run, request))
        seen = self._seen.get(request, range(start, start))
        self._seen[request] = range(min(start, seen.start), max(start + blocks, seen.stop))
        self._next[request] = start + blocks
        self._unseen[request] = without(self._unseen.get(request, ()), run)
        return end_ns

    def offer(self, request: Request, blocks: int) -> Sequence[Piece] | None:
        """Make room for what the tier lacks of the request's first `blocks`: that is to be sent.

        None where there is no room: they can be offered again.
        """
        first = self._next.get(request, 0)
        if blocks <= first:
            return ()
        self._see(request, first, blocks)
        run = self.tier.store(pieces(request.chain, first, blocks))
        if run is not None:
            self._next[request] = blocks
            if run:
                self._storing[request] += 1
        return run

    def _see(self, request: Request, start: int, end: int) -> None:
        """Blocks are offered: they will count as used when the request is over, but for those that
        are on their way for another one whenever they are offered."""
        seen = self._seen.get(request, range(start, start))
        self._seen[request] = range(seen.start, max(end, seen.stop))
        offered = list(pieces(request.chain, start, end))
        coming, before = self.tier.coming(offered), pieces(request.chain, start, seen.stop)
        still = without(self._unseen.get(request, ()), without(offered, coming))
        self._unseen[request] = still + without(coming, before)

    def is_storing(self, request: Request) -> bool:
        """Whether blocks of its own are on their way to the host."""
        return self._storing[request] > 0

    def send(self, request: Request, run: Sequence[Piece], now_ns: int) -> None:
        """Order what was offered, once it is computed."""
        if run:
            end_ns = self.to_host.send(now_ns, sum(length for _, length in run))
            self._stores.append(Transfer(end_ns, run, request))

    def close(self, request: Request) -> None:
        """A request is over."""
        self._next.pop(request, None)
        seen, unseen = self._seen.pop(request, None), self._unseen.pop(request, [])
        if seen:
            self.tier.use(without(pieces(request.chain, seen.start, seen.stop), unseen))
