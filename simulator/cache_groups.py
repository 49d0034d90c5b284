"""The caches of an engine's groups of layers, by what each group keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from servecast.errors import UnsupportedError
from servecast.primitives.kv_cache_geometry import KvGroup
from servecast.simulator.block_pool import BlockPool
from servecast.simulator.recurrent_cache import RecurrentCache
from servecast.simulator.single_type_cache import SingleTypeCache, WindowCache


def plain_groups(
    pool: BlockPool, groups: Sequence[KvGroup], max_model_len: int, max_in_flight_tokens: int
) -> list[SingleTypeCache]:
    """Caches in which nothing is found again: a state is one block for all tokens."""
    alignment = max_model_len  # of no hit
    return [
        SingleTypeCache(pool, number, max_model_len, alignment)
        if group.kind == "state"
        else _attention(pool, number, group, alignment, max_model_len, max_in_flight_tokens)
        for number, group in enumerate(groups)
    ]


def caching_groups(
    pool: BlockPool, groups: Sequence[KvGroup], max_model_len: int, max_in_flight_tokens: int
) -> list[SingleTypeCache]:
    """Caches that find again what they held: hits end where blocks of all groups do.

    UnsupportedError for states beside blocks of other sizes, which vLLM finds within blocks.
    """
    sizes = sorted({group.block_tokens for group in groups})
    if len(sizes) > 1 and any(group.kind == "state" for group in groups):
        raise UnsupportedError(
            f"prefix caching of recurrent layers beside blocks of {sizes} tokens is not modelled",
            hint="set enable_prefix_caching to false",
        )
    alignment = math.lcm(*sizes)
    return [
        RecurrentCache(
            pool, number, group.block_tokens, writes_checkpoints=group.writes_checkpoints
        )
        if group.kind == "state"
        else _attention(pool, number, group, alignment, max_model_len, max_in_flight_tokens)
        for number, group in enumerate(groups)
    ]


def alike(groups: Sequence[KvGroup]) -> list[list[int]]:
    """The numbers of groups that keep alike, which are asked as one; full attention first."""
    kinds: dict[tuple[bool, str, int, int | None], list[int]] = {}
    for number, group in enumerate(groups):
        kind = (group.kind != "full", group.kind, group.block_tokens, group.window)
        kinds.setdefault(kind, []).append(number)
    return [kinds[kind] for kind in sorted(kinds, key=lambda each: each[0])]


def _attention(
    pool: BlockPool,
    number: int,
    group: KvGroup,
    alignment: int,
    max_model_len: int,
    max_in_flight_tokens: int,
) -> SingleTypeCache:
    if group.window is None:
        return SingleTypeCache(pool, number, group.block_tokens, alignment)
    most = group.blocks(max_model_len, max_in_flight_tokens)
    return WindowCache(
        pool, number, group.block_tokens, alignment, window=group.window, most_blocks=most
    )
