"""A router that weighs prompts to compute against blocks held, as Dynamo's KV router does."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.active_blocks import ActiveBlocks
from servecast.simulator.fleet.draws import Draws
from servecast.simulator.fleet.prefix_index import PrefixIndex
from servecast.simulator.fleet.router import R, Replica
from servecast.simulator.request import Request
from servecast.traces.prefixes import cut

Extents = list[tuple[int, int]]


class _Account:
    """What the router knows of one replica: what it sent there, and what of that has ended."""

    def __init__(self, capacity: int) -> None:
        self.index = PrefixIndex(capacity)
        self.active = ActiveBlocks()
        self._prefilling: dict[Request, int] = {}
        """Tokens to compute of each prompt that has no token yet."""

    def prefill_tokens(self) -> int:
        """Prompt tokens that are still to be computed, as far as the router hears of tokens."""
        done = [each for each in self._prefilling if each.first_token_ns is not None]
        for each in done:
            del self._prefilling[each]
        return sum(self._prefilling.values())

    def take(self, request: Request, extents: Extents, own: int, tokens: int) -> None:
        """The request is sent to it, with so many tokens to compute."""
        self.index.add(extents)
        self.active.hold(extents, own)
        self._prefilling[request] = tokens

    def release(self, request: Request, extents: Extents, own: int) -> None:
        """The request is over."""
        self.active.release(extents, own)
        self._prefilling.pop(request, None)


class KvOverlap:
    """The least cost: prompt blocks still to compute, times a weight, and blocks held.

    To compute are the new prompt's blocks that the router has not sent to the replica before, and
    those of prompts that have no token yet. Held are the different blocks of all prompts underway
    there with the new one. It keeps account of both itself, so its news is never old, but does not
    see what a replica evicts. Among equals it draws, as Dynamo does at temperature 0.
    """

    is_static = False

    def __init__(self, options: RoutingOptions, block_size: int, draws: Draws) -> None:
        self._options = options
        self._block_size = block_size
        self._capacity = options.index_tokens // block_size
        self._draws = draws
        self._accounts: dict[int, _Account] = {}
        """By the replica's number."""
        self._sent: dict[Request, _Account] = {}

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica at the least cost; None where there is none."""
        if not replicas:
            return None
        extents, own = self._blocks(request)
        costs = [self._cost(replica, request, extents, own) for replica in replicas]
        least = min(costs)
        equals = [place for place, cost in enumerate(costs) if cost == least]
        replica = replicas[equals[self._draws.below(len(equals))]]
        account = self._account(replica)
        account.take(request, extents, own, self._uncached(account, request, extents))
        self._sent[request] = account
        return replica

    def ended(self, replica: Replica, requests: Sequence[Request]) -> None:
        """What these requests hold is free."""
        for request in requests:
            self._end(request)

    def _cost(self, replica: Replica, request: Request, extents: Extents, own: int) -> float:
        account = self._account(replica)
        tokens = account.prefill_tokens() + self._uncached(account, request, extents)
        held = account.active.blocks + account.active.new(extents) + own
        return self._options.overlap_weight * tokens / self._block_size + held

    def _uncached(self, account: _Account, request: Request, extents: Extents) -> int:
        return request.prompt_tokens - account.index.matched(extents) * self._block_size

    def _end(self, request: Request) -> None:
        account = self._sent.pop(request, None)
        if account is not None:
            account.release(request, *self._blocks(request))

    def _blocks(self, request: Request) -> tuple[Extents, int]:
        """The prompt's blocks that have ids, and how many have none."""
        extents = cut(request.chain[:-1], request.prompt_tokens // self._block_size)
        named = sum(length for _, length in extents)
        return extents, -(-request.prompt_tokens // self._block_size) - named

    def _account(self, replica: Replica) -> _Account:
        account = self._accounts.get(replica.number)
        if account is None:
            account = self._accounts[replica.number] = _Account(self._capacity)
        return account
