"""How many tokens are drafted in a step, where that depends on how many requests are in it."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.errors import InputError

Ranges = tuple[tuple[int, int, int], ...]
"""vLLM's `num_speculative_tokens_per_batch_size`: from so many requests, to so many, and the drafts
for each of them."""


def check_ranges(ranges: Ranges) -> None:
    """InputError for what vLLM refuses: ranges that overlap, are empty, or begin above one."""
    last = 0
    for first, end, drafts in sorted(ranges):
        if not last and first != 1:
            told = f"begins at a batch of {first}, and nothing says what holds for one request"
        elif first > end or first <= last:
            told = f"has a range from {first} to {end} behind one that ends at {last}"
        elif drafts < 0:
            told = f"has {drafts} drafts from {first} to {end}"
        else:
            last = end
            continue
        raise InputError(
            f"num_speculative_tokens_per_batch_size {told}",
            hint="write [first, last, drafts] by rising batch size, as [[1, 8, 4], [9, 64, 1]]",
        )


def drafts_at(ranges: Ranges, most: int, largest: int) -> Sequence[int]:
    """The drafts of each request in a step of 0, 1, … up to `largest` requests, `most` at most.

    A range holds on until the next one begins, and the last one to the end.
    """
    drafts = [0] * (largest + 1)
    for first, _, wanted in sorted(ranges):
        beyond = max(0, largest + 1 - first)
        drafts[first:] = [min(most, wanted)] * beyond
    return drafts
