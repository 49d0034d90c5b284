"""Workloads and limits that hypothesis draws: cramped, bursty and small enough to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st

from servecast.simulator.scheduler import SchedulerLimits
from servecast.traces.prefixes import cut
from tests.driver import Arrival

BLOCK_SIZE = 16

Drawn = Callable[[int], settings]
"""How many workloads a law draws: from how many are enough to its settings (fixture `drawn`)."""

GAPS_NS = st.one_of(
    st.just(0),
    st.integers(1, 1000),
    st.integers(1, 40_000_000),
    st.integers(40_000_000, 300_000_000),
)
"""Simultaneous, almost so, within a step or some, and after the engine may have become idle."""


@dataclass(frozen=True)
class Case:
    """One engine's limits and the requests that come to it."""

    limits: SchedulerLimits
    arrivals: tuple[Arrival, ...]


CHAINS = (
    ((0, 16),),
    ((0, 3), (100, 13)),
    ((0, 3), (100, 2), (200, 11)),
    ((300, 16),),
    (),
)
"""Chains of KV blocks that part at several places, one apart, and one that nobody knows."""


@st.composite
def cases(draw: st.DrawFn, max_requests: int = 32, *, prefixes: bool = False) -> Case:
    """KV caches from the smallest that vLLM starts with, budgets down to a token a sequence.

    With `prefixes` there is a prefix cache, and prompts (outputs too) that begin alike.
    """
    max_model_len = draw(st.sampled_from((64, 128, 256)))
    num_blocks = max_model_len // BLOCK_SIZE + draw(st.integers(0, 16))
    max_num_seqs = draw(st.integers(1, 12))
    budget = max_num_seqs + draw(st.one_of(st.integers(0, 16), st.integers(17, 300)))
    arrivals: list[Arrival] = []
    now_ns = 0
    for index in range(draw(st.integers(1, max_requests))):
        now_ns += draw(GAPS_NS)
        prompt_tokens = draw(st.integers(1, max_model_len - 1))
        output_tokens = draw(st.integers(1, max_model_len - prompt_tokens))
        known = tuple[tuple[int, int], ...]()
        if prefixes:
            named = prompt_tokens + draw(st.sampled_from((0, output_tokens)))
            known = tuple(cut(list(draw(st.sampled_from(CHAINS))), named // BLOCK_SIZE))
        arrivals.append(Arrival(index, now_ns, prompt_tokens, output_tokens, known))
    limits = SchedulerLimits(
        max_num_seqs, budget, max_model_len, num_blocks, BLOCK_SIZE, enable_prefix_caching=prefixes
    )
    return Case(limits, tuple(arrivals))
