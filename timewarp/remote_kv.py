"""KV caches that come over a link: where a request's prefix lies, and how long it is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from servecast.errors import InputError
from servecast.timewarp.clock import VirtualClock
from servecast.timewarp.shared_clock import SharedClock


@dataclass(frozen=True, slots=True)
class Link:
    """What carries KV caches to an engine: one transfer after the other."""

    bytes_per_s: float
    bytes_per_token: float
    """Of all ranks together, where the rate is that of all their links."""
    latency_s: float = 0.0
    """From the order until the first byte."""

    def __post_init__(self) -> None:
        if not (self.bytes_per_s > 0 and self.bytes_per_token > 0 and self.latency_s >= 0):
            raise InputError(
                f"no KV cache comes over a link of {self.bytes_per_s} bytes/s with "
                f"{self.bytes_per_token} bytes a token after {self.latency_s} s",
                hint="give a rate and a size above 0, and a latency of 0 or more",
            )

    def ns(self, tokens: int) -> int:
        """Nanoseconds on the link, without the latency."""
        return round(tokens * self.bytes_per_token / self.bytes_per_s * 1e9)


class Held(Protocol):
    """Where KV caches lie that are not in the engine's own memory."""

    def tokens(self, request_id: str) -> int:
        """Of a request's prompt, from its beginning."""
        ...

    def fetched(self, request_id: str, end_ns: int) -> None:
        """They will have been read at `end_ns`."""
        ...


class Store:
    """A cache that many engines share, such as one in host memory: reading changes nothing."""

    def __init__(self, tokens: Callable[[int], int]) -> None:
        """`tokens` of a request's prompt that it holds, by the request's index."""
        self._tokens = tokens

    def tokens(self, request_id: str) -> int:
        """Of a request's prompt, from its beginning."""
        return self._tokens(int(request_id))

    def fetched(self, request_id: str, end_ns: int) -> None:
        """Nobody waits for that."""


class RemoteKv:
    """One engine's side of the transfers: what it fetches, and what it keeps for others to fetch.

    It is told what vLLM tells a connector, and polled when a step is handed over, as a worker does.
    """

    def __init__(
        self,
        clock: VirtualClock,
        link: Link | None = None,
        held: Held | None = None,
        finished: Callable[[str], None] | None = None,
    ) -> None:
        """It fetches what is `held` over the `link`; `finished` is told who is kept for others."""
        self._clock, self._link, self._held = clock, link, held
        self._finished = finished
        self._free_ns = 0
        self._receiving: dict[str, int] = {}
        self._sending: dict[str, int] = {}
        self._kept: set[str] = set()
        self.wake: Callable[[int], None] = lambda ns: None
        """Tells an engine that waits that something ends at that time."""

    def matched(self, request_id: str, prompt_tokens: int, computed: int) -> int:
        """Tokens that can be fetched beyond those that the engine has itself."""
        if self._held is None:
            return 0
        return max(min(self._held.tokens(request_id), prompt_tokens) - computed, 0)

    def fetch(self, request_id: str, tokens: int) -> None:
        """Order `tokens`: they come after all that was ordered before."""
        if self._link is None or self._held is None:
            raise RuntimeError("tokens are fetched, and there is no link")
        start_ns = max(self._clock.now_ns() + round(self._link.latency_s * 1e9), self._free_ns)
        self._free_ns = start_ns + self._link.ns(tokens)
        self._receiving[request_id] = self._free_ns
        self._held.fetched(request_id, self._free_ns)

    def keep(self, request_id: str) -> bool:
        """Whether the blocks of a request that is over are kept until somebody has fetched them."""
        if self._finished is None:
            return False
        self._kept.add(request_id)
        self._finished(request_id)
        return True

    def sent_at(self, request_id: str, end_ns: int) -> None:
        """Somebody will have fetched a request's blocks then."""
        self._kept.discard(request_id)
        self._sending[request_id] = end_ns
        self.wake(end_ns)

    def doze(self, until_ns: int | None) -> None:
        """Let time pass, up to that moment or until another engine changes something."""
        if isinstance(self._clock, SharedClock):
            self._clock.doze(until_ns)
        elif until_ns is not None:
            self._clock.jump_to(until_ns)

    def received(self) -> set[str]:
        """Whose tokens have come since this was asked before."""
        return _over(self._receiving, self._clock.now_ns())

    def sent(self) -> set[str]:
        """Whose tokens have been fetched since this was asked before."""
        return _over(self._sending, self._clock.now_ns())

    @property
    def is_waiting(self) -> bool:
        """Whether anything is under way, or kept for others."""
        return bool(self._receiving or self._sending or self._kept)

    def next_ns(self) -> int | None:
        """When the next transfer that is known of ends; None where none is."""
        return min([*self._receiving.values(), *self._sending.values()], default=None)


def _over(transfers: dict[str, int], now_ns: int) -> set[str]:
    over = {request_id for request_id, end_ns in transfers.items() if end_ns <= now_ns}
    for request_id in over:
        del transfers[request_id]
    return over
