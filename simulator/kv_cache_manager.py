"""The KV cache of a stepped engine: which blocks each request holds, and which it finds.

Lay it beside vLLM's `v1/core/kv_cache_manager.py` and `kv_cache_coordinator.py` (0.32.0), whose
names the methods have. Between `new_step_starts` and `new_step_ends` a scheduler calls
`allocate_slots` for whoever runs; `get_computed_blocks`, and `allocate_slots` with what that finds,
for whoever waits; and `free` for whoever ends or gives way.

`prefix_cache_retention_interval` is at its default, 0: windows and states are found where a prompt
ends and where prompts came to part, nowhere else. Not modelled: hits within a block (which states
have beside blocks of other sizes), drafters that read hidden states beside groups of several kinds,
blocks of state for drafts, a watermark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.simulator.block_pool import Block, BlockPool
from servecast.simulator.cache_groups import alike, caching_groups, plain_groups
from servecast.simulator.chain_keys import ChainKeys
from servecast.simulator.recurrent_cache import RecurrentCache
from servecast.simulator.single_type_cache import Demand, SingleTypeCache
from servecast.simulator.stepped_request import SteppedRequest

Found = Sequence[Sequence[Block]]
"""In each group the blocks that a request finds; nothing at all where it finds none."""


class KvCacheManager:
    """The groups of one engine, which share one pool. Paired: `allocate_slots` and `free`."""

    def __init__(
        self,
        groups: Sequence[KvGroup],
        num_blocks: int,
        *,
        max_model_len: int,
        max_in_flight_tokens: int,
        enable_caching: bool,
        drops_last_block: bool = False,
    ) -> None:
        """`num_blocks` are those that requests can hold: vLLM's null block is one more.

        With `drops_last_block` the last block found is computed again, for a drafter that reads the
        model's hidden states; there is one group of full attention then.

        UnsupportedError for groups that hits within a block would serve.
        """
        self.hash_block_size = math.gcd(*(group.block_tokens for group in groups))
        """Tokens of a block of a request's chain."""
        self.pool = BlockPool(num_blocks, len(groups))
        self.peak_used = 0
        """The most blocks held once a step had been scheduled."""
        self._alignment = math.lcm(*(group.block_tokens for group in groups))
        self._max_model_len = max_model_len
        self._enable_caching = enable_caching
        self._drops_last_block = drops_last_block
        build = caching_groups if enable_caching else plain_groups
        self._caches = build(self.pool, groups, max_model_len, max_in_flight_tokens)
        self._lookups = alike(groups)
        self._keys: dict[SteppedRequest, ChainKeys] = {}
        self._junctions: dict[SteppedRequest, int] = {}
        """Where others came to part from a request, behind what all groups have cached."""

    @property
    def used(self) -> int:
        """Blocks that requests hold, one of several holders counted once."""
        return self.pool.total - self.pool.free

    @property
    def has_states(self) -> bool:
        """Whether a prompt is cut so that states lie at the ends of blocks."""
        return any(isinstance(cache, RecurrentCache) for cache in self._caches)

    @property
    def is_plain(self) -> bool:
        """Whether all layers keep every token, in blocks of one size."""
        return [type(cache) for cache in self._caches] == [SingleTypeCache]

    def num_blocks(self, request: SteppedRequest) -> int:
        """How many blocks a request holds in the first group."""
        return len(self._caches[0].held[request])

    def fills_its_own(self, request: SteppedRequest) -> bool:
        """Whether nobody else can know the blocks that a request fills from here on."""
        if not self._enable_caching:
            return True
        return self._caches[0].num_cached(request) >= request.request.named_blocks()

    def grant(self, request: SteppedRequest, blocks: Sequence[Block]) -> None:
        """Give a request blocks of the first group that were taken for it before."""
        self._caches[0].held[request] += blocks

    def block_ids(self, request: SteppedRequest) -> list[list[int]]:
        """The numbers of the blocks that a request holds in each group, 0 being the null block."""
        return [[block.number for block in cache.held.get(request, ())] for cache in self._caches]

    def junction(self, request: SteppedRequest) -> int:
        """Where others came to part from it, in tokens, behind what it found; 0 where nowhere."""
        return self._junctions.get(request, 0)

    def new_step_starts(self) -> None:
        """Begin to schedule a step."""
        for cache in self._caches:
            cache.new_step_starts()

    def new_step_ends(self) -> None:
        """End to schedule a step."""
        self.peak_used = max(self.peak_used, self.used)

    def get_computed_blocks(self, request: SteppedRequest) -> tuple[Found, int]:
        """What all groups have cached of a request, at most all but its last token: and how many
        tokens that is."""
        if not self._enable_caching:
            return (), 0
        found: list[Sequence[Block]] = [()] * len(self._caches)
        tokens, longest = self._find(self._keys_of(request), request.num_tokens - 1, found)
        self._junctions[request] = longest if longest > tokens else 0
        if self._drops_last_block and tokens:
            tokens -= self.hash_block_size
            found = [blocks[:-1] for blocks in found]
        return (found, tokens) if tokens else ((), 0)

    def allocate_slots(
        self,
        request: SteppedRequest,
        num_new_tokens: int,
        *,
        num_new_computed_tokens: int = 0,
        new_computed_blocks: Found = (),
        num_lookahead_tokens: int = 0,
        full_sequence_must_fit: bool = False,
    ) -> bool:
        """Whether there is room for the tokens; then the request has it, and what was found."""
        computed = request.num_computed_tokens + num_new_computed_tokens
        end, limit = computed + num_new_tokens, self._max_model_len
        prefill_end = max(request.request.prompt_tokens, request.num_tokens - 1)
        if full_sequence_must_fit:
            whole = min(request.num_tokens, limit)
            entire = Demand(computed, whole, whole, prefill_end, is_whole=True)
            if self._needed(request, entire, new_computed_blocks) > self.pool.free:
                return False
        for cache in self._caches:
            cache.remove_skipped(request, min(computed, limit) - request.num_in_flight_tokens)
        demand = Demand(computed, end, min(end + num_lookahead_tokens, limit), prefill_end)
        if self._needed(request, demand, new_computed_blocks) > self.pool.free:
            return False
        for cache, found in zip(self._caches, new_computed_blocks, strict=False):
            cache.adopt(request, found, computed)
        for cache in self._caches:
            cache.allocate(request, demand)
        self.cache_blocks(request, min(end, request.num_tokens))
        return True

    def settled_tokens(self, request: SteppedRequest, num_lookahead_tokens: int) -> int:
        """Up to how many tokens of a request that has slots `allocate_slots` would change nothing.

        0 where that is not known: where there is more than one group of full attention.
        """
        (cache, *others) = self._caches
        if others or type(cache) is not SingleTypeCache:
            return 0
        return cache.settled_tokens(request, num_lookahead_tokens, caching=self._enable_caching)

    def cache_blocks(self, request: SteppedRequest, num_tokens: int) -> None:
        """Let the blocks of the request's first `num_tokens` be found, as far as they are full."""
        if not self._enable_caching:
            return
        if len(self._caches) > 1:
            num_tokens -= num_tokens % self._alignment
        boundaries = [request.request.prompt_tokens - 1]
        if self.junction(request):
            boundaries.append(self.junction(request))
        for cache in self._caches:
            cache.cache(request, self._keys_of(request), num_tokens, boundaries)

    def free(self, request: SteppedRequest) -> None:
        """Release all blocks of the request, in each group its last one to go first."""
        for cache in self._caches:
            cache.free(request)
        self._keys.pop(request, None)
        self._junctions.pop(request, None)

    def block_aligned_split(
        self,
        request: SteppedRequest,
        num_new_tokens: int,
        *,
        num_new_computed_tokens: int = 0,
        max_num_scheduled_tokens: int,
    ) -> int:
        """How many of the tokens one step computes, so that states lie at the ends of blocks.

        A step has `max_num_scheduled_tokens` at most. All of them where nothing is recurrent.
        """
        start = request.num_computed_tokens + num_new_computed_tokens
        end = start + num_new_tokens
        prefill_end = max(request.request.prompt_tokens, request.num_tokens - 1)
        for cache in self._caches:
            if isinstance(cache, RecurrentCache):
                demand = Demand(start, end, end, prefill_end)
                junction, most = self.junction(request), max_num_scheduled_tokens
                return cache.chunk(demand, request.num_tokens, junction, most) - start
        return num_new_tokens

    def _find(self, keys: ChainKeys, at_most: int, found: list[Sequence[Block]]) -> tuple[int, int]:
        """The tokens that all groups find, and the most that one of them does.

        Each kind may shorten what the others found, so it is asked again until none does.
        """
        reached, longest = at_most, 0
        while True:
            before = reached
            for groups in self._lookups:
                cache = self._caches[groups[0]]
                blocks, reached = cache.find(keys, reached, groups)
                longest = max(longest, reached)
                for group, own in zip(groups, blocks, strict=True):
                    found[group] = own
            if reached == before or len(self._lookups) == 1:
                return reached, longest

    def _needed(self, request: SteppedRequest, demand: Demand, found: Found) -> int:
        return sum(
            cache.needed(request, demand, found[number] if found else ())
            for number, cache in enumerate(self._caches)
        )

    def _keys_of(self, request: SteppedRequest) -> ChainKeys:
        keys = self._keys.get(request)
        if keys is None:
            keys = self._keys[request] = ChainKeys(request.chain, self.hash_block_size)
        return keys
