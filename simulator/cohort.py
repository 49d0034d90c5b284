"""Requests that decode with equally many drafts in every step, and that nobody looks at meanwhile.

What a draft brings is a matter of request and position alone. So where each member stands after
each of its steps is known when it joins, and a step of all members is a sum that was made before:
their contexts, the KV blocks they take, the tokens that they say. The scheduler and the device see
those sums; a member's own state is made good when it ends, or when all have to part.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from servecast.simulator.block_pool import Block
from servecast.simulator.cohort_member import (
    BLOCKS,
    HEARD,
    ROWS,
    SEQUENCES,
    TOKENS,
    CohortMember,
    path_of,
)
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.stepped_options import SteppedOptions
from servecast.simulator.stepped_request import SteppedRequest

SHORTEST = 8
"""Tokens that are left to say of a request for which it is worth while to join."""
_LENGTH = 1024
"""Steps that are summed ahead, at first."""


class CohortStep(NamedTuple):
    """What the members are in one step, which they have all taken part in, or none."""

    place: int
    sequences: int
    context_sum: int
    query_tokens: int
    """Of each."""


class Said(NamedTuple):
    """What came out of one member in a step that is to be heard."""

    request: SteppedRequest
    scheduled: int
    tokens: int
    has_ended: bool


class Cohort:
    """The members, and the sums of their steps. Paired: `join`, and `leaving` or `part`."""

    def __init__(
        self, manager: KvCacheManager, options: SteppedOptions, max_model_len: int
    ) -> None:
        self.members: dict[SteppedRequest, CohortMember] = {}
        self.drafts = 0
        """Of each member in a step."""
        self.last_order = 0
        """No member was admitted later."""
        self.heard_ns = 0
        """When the clients heard of the step before."""
        self._manager = manager
        self._options = options
        self._ahead = options.async_scheduling
        self._max_model_len = max_model_len
        self._sums = np.zeros((ROWS, _LENGTH), dtype=np.int64)
        self._first = 0
        """The step that the first column stands for."""
        self._scheduled = 0
        self._heard = 0
        """Steps so far."""
        self._ends: defaultdict[int, list[CohortMember]] = defaultdict(list)
        self._spare: list[Block] = []
        """KV blocks that the members took together."""

    @property
    def needs(self) -> tuple[int, int]:
        """Members in the next step, and KV blocks that they take in it."""
        column = self._sums[:, self._scheduled - self._first]
        return int(column[SEQUENCES]), int(column[BLOCKS])

    @property
    def spare_blocks(self) -> int:
        """Blocks that are in use, and that no request's own list has yet."""
        return len(self._spare)

    def admits(self, request: SteppedRequest) -> bool:
        """Whether a request that runs will do nothing but decode, all drafts in each step."""
        options, width = self._options, self.drafts + 1
        in_flight = width if self._ahead else 0
        spare = 3 * width + options.num_lookahead_tokens
        return (
            request.is_decoding
            and request.num_spec_tokens == self.drafts
            and request.num_in_flight_tokens == in_flight
            and request.num_output_placeholders == in_flight
            and request.num_computed_tokens + 1 == request.num_tokens + in_flight
            and (self._ahead or request.last_token_ns == self.heard_ns)
            and request.end_tokens - request.said >= SHORTEST
            and request.end_tokens + spare < self._max_model_len
            and self._manager.fills_its_own(request)
        )

    def join(self, request: SteppedRequest) -> None:
        """Take in a request that it admits."""
        options, manager = self._options, self._manager
        path = path_of(request, options.speculation, self.drafts)
        held = manager.num_blocks(request)
        member = CohortMember(request, self._scheduled, held, path, ahead=self._ahead)
        reach = self.drafts + options.num_lookahead_tokens + self._ahead * (self.drafts + 1)
        added = member.adds(reach, manager.hash_block_size)
        begin = self._column(member.rides)
        self._sums[:, begin : begin + member.rides] += added
        self._ends[member.start + member.steps - 1].append(member)
        self.members[request] = member
        self.last_order = max(self.last_order, request.order)

    def schedule(self) -> CohortStep | None:
        """The next step of the members, who take their blocks for it; None where all have ended."""
        place = self._scheduled
        sequences, context_sum, blocks = self._sums[:3, place - self._first].tolist()
        if not sequences:
            return None
        if blocks:
            self._spare += self._manager.pool.take(blocks)
        self._scheduled += 1
        return CohortStep(place, sequences, context_sum, self.drafts + 1)

    def peek(self) -> CohortStep | None:
        """The next step, where nobody ends in it and there are blocks for all."""
        place = self._scheduled
        sequences, context_sum, blocks = self._sums[:3, place - self._first].tolist()
        if place in self._ends or blocks > self._manager.pool.free:
            return None
        return CohortStep(place, sequences, context_sum, self.drafts + 1)

    def leaving(self, place: int) -> list[Said]:
        """Those whose last token came out in a step, each itself again."""
        left = self._ends.pop(place, [])
        return [self._itself(member, self.drafts) for member in left]

    def hear(self, place: int) -> tuple[int, int]:
        """How many go on after a step, and how many tokens came out of them in it."""
        self._heard = place + 1
        heard, tokens = self._sums[HEARD : TOKENS + 1, place - self._first].tolist()
        return heard, tokens

    def part(self, num_spec_tokens: int) -> list[Said]:
        """Nobody is a member any more, and each has so many drafts for its next step.

        What they say in the step under way, of which nobody has heard, where there is one.
        """
        said = [self._itself(member, num_spec_tokens) for member in [*self.members.values()]]
        self._sums[:] = 0
        self._ends.clear()
        self._first = self._heard = self._scheduled
        return said

    def _itself(self, member: CohortMember, num_spec_tokens: int) -> Said:
        """Make good what its steps have changed of a member, up to the one to be heard next."""
        request, width = member.request, self.drafts + 1
        scheduled = min(self._scheduled - member.start, member.rides)
        heard = self._heard - member.start
        in_flight = scheduled - heard
        known = member.path[heard]
        request.num_tokens = known
        request.num_computed_tokens = known - 1 + in_flight * width
        request.num_in_flight_tokens = in_flight * width
        request.num_output_placeholders = in_flight * width if self._ahead else 0
        request.num_spec_tokens = num_spec_tokens
        request.settled_tokens = 0
        request.said = member.path[min(scheduled, member.steps)]
        request.computed = request.said - 1
        if heard:
            request.last_token_ns = self.heard_ns
        self._give(member, scheduled, heard)
        del self.members[request]
        if not in_flight:
            return Said(request, 0, 0, has_ended=False)
        ended = heard + 1 == member.steps
        return Said(request, width, member.says(heard), has_ended=ended)

    def _give(self, member: CohortMember, scheduled: int, heard: int) -> None:
        """Its blocks, of which those are cached that the scheduler has seen filled."""
        manager, path = self._manager, member.path
        count = member.taken(scheduled, manager.hash_block_size)
        if count:
            manager.grant(member.request, self._spare[-count:])
            del self._spare[-count:]
        filled = path[heard] - (scheduled - heard < 2) if self._ahead else path[scheduled - 1]
        manager.cache_blocks(member.request, filled)

    def _column(self, steps: int) -> int:
        """Where the next step stands among the sums, with room for so many from there on."""
        begin, length = self._scheduled - self._first, self._sums.shape[1]
        if begin + steps < length:
            return begin
        kept = self._sums[:, self._heard - self._first :]
        self._sums = np.zeros((ROWS, max(_LENGTH, 2 * (kept.shape[1] + steps))), dtype=np.int64)
        self._sums[:, : kept.shape[1]] = kept
        self._first = self._heard
        return self._scheduled - self._first
