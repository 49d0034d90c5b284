"""A router that sends requests where their prompts' beginnings are, as llm-d's scheduler does."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.primitives.routing_options import RoutingOptions
from servecast.simulator.fleet.draws import Draws
from servecast.simulator.fleet.prefix_index import PrefixIndex
from servecast.simulator.fleet.router import Clock, R, Replica
from servecast.simulator.request import Request
from servecast.traces.prefixes import cut


class PrefixAffinity:
    """The highest weighted sum of three scores, each from 0 to 1.

    Prefix: the share of the prompt's whole blocks that the router has sent to the replica before,
    as far as it remembers. KV: the share of the replica's cache that is free. Queue: how few wait
    there, between the replica where most do and the one where least do. Among equals it draws.
    """

    is_static = False

    def __init__(
        self, options: RoutingOptions, block_size: int, clock: Clock, draws: Draws
    ) -> None:
        self._options = options
        self._block_size = block_size
        self._capacity = options.index_tokens // block_size
        self._clock = clock
        self._draws = draws
        self._sent: dict[int, PrefixIndex] = {}
        """By the replica's number."""

    def route(self, replicas: Sequence[R], request: Request) -> R | None:
        """The replica with the best score; None where there is none."""
        if not replicas:
            return None
        blocks = request.prompt_tokens // self._block_size
        extents = cut(request.chain[:-1], blocks)
        scores = self._scores(replicas, extents, blocks)
        best = max(scores)
        equals = [place for place, score in enumerate(scores) if score == best]
        replica = replicas[equals[self._draws.below(len(equals))]]
        self._index(replica).add(extents)
        return replica

    def _scores(
        self, replicas: Sequence[Replica], extents: list[tuple[int, int]], blocks: int
    ) -> list[float]:
        options, now_ns = self._options, self._clock()
        waiting = [replica.waiting for replica in replicas]
        least, most = min(waiting), max(waiting)
        scores: list[float] = []
        for replica, queued in zip(replicas, waiting, strict=True):
            matched = self._index(replica).matched(extents) / blocks if blocks else 0.0
            idle = (most - queued) / (most - least) if most > least else 1.0
            scores.append(
                options.prefix_weight * matched
                + options.kv_weight * (1.0 - replica.kv_used(now_ns))
                + options.queue_weight * idle
            )
        return scores

    def _index(self, replica: Replica) -> PrefixIndex:
        index = self._sent.get(replica.number)
        if index is None:
            index = self._sent[replica.number] = PrefixIndex(self._capacity)
        return index
