"""Two KV cache managers given the same: ours, and vLLM's own, held to answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.simulator.kv_cache_manager import KvCacheManager
from servecast.simulator.request import Request
from servecast.simulator.stepped_request import SteppedRequest
from servecast.timewarp.foreign import foreign

LONGEST = 96
OWN_TOKEN = 1000

FULL = KvGroup("full", 1, 4)
WINDOW = KvGroup("window", 1, 4, window=11)
NARROW = KvGroup("window", 1, 4, window=3)
WIDE_BLOCKS = KvGroup("full", 1, 8)
STATE = KvGroup("state", 1, 4, state_blocks=2)
CHECKPOINTS = KvGroup("state", 1, 4, state_blocks=3)

GROUPS = {
    "full attention": (FULL,),
    "windows alone": (WINDOW,),
    "windows and full attention": (WINDOW, FULL),
    "five windows for each full layer": (FULL, *[WINDOW] * 5),
    "windows of two sizes": (NARROW, FULL, WINDOW),
    "blocks of two sizes": (WINDOW, WIDE_BLOCKS),
    "windows of two sizes and blocks of two sizes": (NARROW, WIDE_BLOCKS, WINDOW),
    "states and full attention": (STATE, STATE, STATE, FULL),
    "states with checkpoints and full attention": (CHECKPOINTS, FULL),
    "states, windows and full attention": (STATE, WINDOW, FULL),
    "states alone": (STATE,),
}


@dataclass(frozen=True)
class Scenario:
    """Prompts as letters, one a block and equal where blocks are, and tokens after the last."""

    prompts: Sequence[tuple[Sequence[int], int]]
    outputs: Sequence[int]
    budget: int
    most_running: int
    spare_blocks: int
    lag: int
    """Steps under way while the next one is scheduled."""
    lookahead: int


scenarios = st.builds(
    Scenario,
    prompts=st.lists(
        st.tuples(st.lists(st.sampled_from([0, 0, 0, 1]), max_size=14), st.integers(0, 3)),
        min_size=8,
        max_size=8,
    ),
    outputs=st.lists(st.integers(1, 20), min_size=8, max_size=8),
    budget=st.sampled_from([3, 7, 8, 16, 40]),
    most_running=st.integers(1, 5),
    spare_blocks=st.integers(0, 40),
    lag=st.sampled_from([0, 1]),
    lookahead=st.sampled_from([0, 0, 3]),
)


@dataclass(eq=False)
class Served:
    """A request on both sides."""

    ours: SteppedRequest
    theirs: Any
    output_tokens: int
    said: int = 0
    under_way: int = 0
    has_ended: bool = False
    is_stale: bool = False

    def set_computed(self, tokens: int) -> None:
        self.ours.num_computed_tokens = self.theirs.num_computed_tokens = tokens

    def add_in_flight(self, tokens: int) -> None:
        self.ours.num_in_flight_tokens += tokens
        self.theirs.num_in_flight_tokens += tokens

    def say(self) -> None:
        self.theirs.append_output_token_ids(OWN_TOKEN + self.ours.request.index)
        self.ours.num_tokens += 1
        self.said += 1

    @property
    def open_tokens(self) -> int:
        return self.ours.num_tokens + self.under_way - self.ours.num_computed_tokens


def spec(group: KvGroup, *, caching: bool) -> Any:
    interface, torch = foreign("vllm.v1.kv_cache_interface"), foreign("torch")
    if group.kind == "state":
        return interface.MambaSpec(
            block_size=group.block_tokens if caching else LONGEST,
            shapes=((1,),),
            dtypes=(torch.float32,),
            mamba_cache_mode="align" if caching else "none",
            num_prefill_checkpoint_blocks=int(group.writes_checkpoints),
            prefill_checkpoint_alignment=1 if group.writes_checkpoints else None,
        )
    keys = {"num_kv_heads": 1, "head_size": 8, "dtype": torch.float32}
    if group.window is None:
        return interface.FullAttentionSpec(block_size=group.block_tokens, **keys)
    return interface.SlidingWindowSpec(
        block_size=group.block_tokens, sliding_window=group.window, **keys
    )


@dataclass
class Both:
    """The two managers, given the same and held to answer the same."""

    groups: Sequence[KvGroup]
    num_blocks: int
    caching: bool
    scenario: Scenario
    requests: list[Served] = field(default_factory=list[Served])

    def __post_init__(self) -> None:
        interface = foreign("vllm.v1.kv_cache_interface")
        most = (1 + self.scenario.lag) * self.scenario.budget
        self.ours = KvCacheManager(
            self.groups,
            self.num_blocks,
            max_model_len=LONGEST,
            max_in_flight_tokens=most,
            enable_caching=self.caching,
        )
        config = interface.KVCacheConfig(
            num_blocks=self.num_blocks + 1,
            kv_cache_tensors=[],
            kv_cache_groups=[
                interface.KVCacheGroupSpec([str(number)], spec(group, caching=self.caching))
                for number, group in enumerate(self.groups)
            ],
            prefix_cache_retention_interval=0,
        )
        self.theirs = foreign("vllm.v1.core.kv_cache_manager").KVCacheManager(
            config,
            LONGEST,
            scheduler_block_size=self._theirs_aligned(),
            hash_block_size=self.ours.hash_block_size if self.caching else self._theirs_aligned(),
            max_in_flight_tokens=most,
            enable_caching=self.caching,
        )

    def _theirs_aligned(self) -> int:
        sizes = {group.block_tokens for group in self.groups}
        if not self.caching and any(group.kind == "state" for group in self.groups):
            sizes.add(LONGEST)
        return max(sizes)  # each divides the next

    def serve(self, index: int, letters: Sequence[int], tail: int, output_tokens: int) -> Served:
        block = self.ours.hash_block_size
        known = [(self._id(letters[: depth + 1]), 1) for depth in range(len(letters))]
        tokens = [letter for letter in letters for _ in range(block)] + [7] * (tail or not letters)
        request = Request(index, 0, len(tokens), output_tokens, output_tokens, known)
        utilities = foreign("vllm.v1.core.kv_cache_utils")
        hasher = utilities.get_request_block_hasher(
            block, foreign("vllm.utils.hashing").sha256_cbor
        )
        theirs = foreign("vllm.v1.request").Request(
            request_id=str(index),
            prompt_token_ids=tokens,
            sampling_params=foreign("vllm").SamplingParams(max_tokens=output_tokens),
            pooling_params=None,
            block_hasher=hasher,
        )
        served = Served(SteppedRequest(request), theirs, output_tokens)
        self.requests.append(served)
        return served

    @staticmethod
    def _id(letters: Sequence[int]) -> int:
        """Equal for equal letters, never consecutive."""
        return 2 * int("1" + "".join(str(letter) for letter in letters))

    def new_step_starts(self) -> None:
        self.ours.new_step_starts()
        self.theirs.new_step_starts()

    def admit(self, served: Served, budget: int) -> int:
        """How many tokens of somebody who waits are scheduled; 0 where there is no room."""
        ours, theirs = served.ours, served.theirs
        found, tokens = self.ours.get_computed_blocks(ours)
        blocks, theirs_tokens, theirs.shared_prefix_boundary = self.theirs.get_computed_blocks(
            theirs
        )
        assert tokens == theirs_tokens
        assert self.ours.junction(ours) == theirs.shared_prefix_boundary
        new = self.split(served, min(ours.num_tokens - tokens, budget), tokens)
        if not new:
            return 0
        has_room = self.ours.allocate_slots(
            ours,
            new,
            num_new_computed_tokens=tokens,
            new_computed_blocks=found,
            num_lookahead_tokens=self.scenario.lookahead,
            full_sequence_must_fit=True,
        )
        theirs_room = self.theirs.allocate_slots(
            theirs,
            new,
            num_new_computed_tokens=tokens,
            new_computed_blocks=blocks,
            num_lookahead_tokens=self.scenario.lookahead,
            full_sequence_must_fit=True,
        )
        assert has_room == (theirs_room is not None)
        self.compare()
        if not has_room:
            return 0
        served.set_computed(tokens)
        return new

    def split(self, served: Served, new: int, found: int = 0) -> int:
        ours = self.ours.block_aligned_split(
            served.ours,
            new,
            num_new_computed_tokens=found,
            max_num_scheduled_tokens=self.scenario.budget,
        )
        states = [group for group in self.groups if group.kind == "state"]
        if not (states and self.caching):
            assert ours == new
            return new
        scheduler = SimpleNamespace(
            cache_config=SimpleNamespace(block_size=states[0].block_tokens),
            mamba_partial_cache_hit=False,
            hash_block_size=self.ours.hash_block_size,
            block_size=self._theirs_aligned(),
            use_eagle_block_drop=False,
            mamba_has_prefill_checkpoint_blocks=states[0].writes_checkpoints,
            mamba_prefill_checkpoint_alignment=1 if states[0].writes_checkpoints else None,
            max_num_scheduled_tokens=self.scenario.budget,
            scheduler_config=SimpleNamespace(long_prefill_token_threshold=0),
            mamba_shared_prefix_checkpoint=False,
        )
        theirs = foreign("vllm.v1.core.sched.scheduler").Scheduler._mamba_block_aligned_split(
            scheduler, served.theirs, new, found
        )
        assert ours == theirs
        return ours

    def extend(self, served: Served, new: int) -> bool:
        lookahead = self.scenario.lookahead
        has_room = self.ours.allocate_slots(served.ours, new, num_lookahead_tokens=lookahead)
        theirs = self.theirs.allocate_slots(served.theirs, new, num_lookahead_tokens=lookahead)
        assert has_room == (theirs is not None)
        self.compare()
        return has_room

    def cache(self, served: Served) -> None:
        computed = served.ours.num_computed_tokens - served.under_way
        self.ours.cache_blocks(served.ours, computed)
        self.theirs.cache_blocks(served.theirs, computed)

    def free(self, served: Served) -> None:
        self.ours.free(served.ours)
        self.theirs.free(served.theirs)
        self.compare()

    def compare(self) -> None:
        assert self.ours.pool.free == self.theirs.block_pool.get_num_free_blocks()
        for served in self.requests:
            theirs = self.theirs.get_block_ids(served.theirs.request_id)
            assert self.ours.block_ids(served.ours) == list(theirs)
