"""Prefixes: which prompts begin alike, block by block, as extents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """For each request the ids of its first blocks, as extents of consecutive ids.

    A block stands for `block_tokens` tokens, and an equal id for an equal chain of blocks up to and
    with it: two requests share as many tokens as their lists agree from the start, and what no id
    names is a request's own. The last block that a prompt lists may be cut by the prompt's end.
    """

    block_tokens: int
    starts: Ints
    """Request r has the extents from `starts[r]` up to `starts[r + 1]`."""
    first: Ints
    """The first id of each extent."""
    length: Ints
    """How many consecutive ids each extent has, at least 1."""
    names_outputs: bool = False
    """Whether lists go on into the output, which a later turn's prompt begins with."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def extents(self, row: int) -> list[tuple[int, int]]:
        """The extents of one request: (first id, how many)."""
        part = slice(int(self.starts[row]), int(self.starts[row + 1]))
        return list(zip(self.first[part].tolist(), self.length[part].tolist(), strict=True))

    def all_extents(self) -> list[list[tuple[int, int]]]:
        """The same of every request."""
        pairs = list(zip(self.first.tolist(), self.length.tolist(), strict=True))
        return [pairs[start:end] for start, end in pairwise(self.starts.tolist())]

    def up_to(self, blocks: Ints) -> Prefixes:
        """The same prefixes, each request's list cut after so many blocks."""
        counts = np.diff(self.starts)
        ends = np.cumsum(self.length)
        begins = np.concatenate(([0], ends))[self.starts[:-1]]
        past = ends - self.length - np.repeat(begins, counts)  # blocks of a list before its extent
        length = np.minimum(self.length, np.repeat(blocks, counts) - past)
        kept = length > 0
        starts = np.concatenate(([0], np.cumsum(kept)))[self.starts]
        return replace(self, starts=starts, first=self.first[kept], length=length[kept])

    def ids(self, row: int) -> list[int]:
        """The ids of one request's blocks, one by one."""
        return [
            each for first, length in self.extents(row) for each in range(first, first + length)
        ]

    def blocks(self) -> Ints:
        """How many blocks each request names."""
        ends = np.concatenate(([0], np.cumsum(self.length)))[self.starts]
        return np.diff(ends)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> Prefixes:
        """The prefixes of the requests `rows`, in that order."""
        picked = np.asarray(rows, np.int64)
        counts = np.diff(self.starts)[picked]
        starts: Ints = np.concatenate(([0], np.cumsum(counts)))
        shift: Ints = np.repeat(self.starts[:-1][picked] - starts[:-1], counts)
        places: Ints = np.arange(len(shift)) + shift
        return replace(self, starts=starts, first=self.first[places], length=self.length[places])

    def in_blocks_of(self, block_size: int) -> Prefixes:
        """The same prefixes in an engine's blocks, whose size must divide theirs.

        Raises InputError for another one: which of its blocks are equal would not be known.
        """
        pieces, rest = divmod(self.block_tokens, block_size)
        if rest:
            raise InputError(
                f"KV blocks of {block_size} tokens do not divide the workload's prefix blocks of "
                f"{self.block_tokens} tokens",
                hint=f"give KV blocks a size that divides {self.block_tokens}, such as "
                f"{np.gcd(self.block_tokens, block_size)}",
            )
        return replace(
            self,
            block_tokens=block_size,
            first=self.first * pieces,
            length=self.length * pieces,
        )

    def resampled(self, block_size: int) -> Prefixes:
        """The same prefixes in blocks of any size: each has the id of the block in which it ends,
        and of its place there."""
        tokens, ids = self.block_tokens, list[list[int]]()
        for row in range(len(self)):
            named = [first + step for first, length in self.extents(row) for step in range(length)]
            lasts = range(block_size - 1, len(named) * tokens, block_size)
            ids.append([named[last // tokens] * tokens + last % tokens for last in lasts])
        return prefixes(block_size, ids, names_outputs=self.names_outputs)


def prefixes(
    block_tokens: int, ids: Iterable[Sequence[int]], *, names_outputs: bool = False
) -> Prefixes:
    """Prefixes from each request's list of block ids."""
    chains = list(ids)
    ends = np.cumsum([len(each) for each in chains], dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(chains), np.int64)
    is_head = np.diff(flat, prepend=flat[:1] - 2) != 1
    begins = np.concatenate(([0], ends[:-1]))
    is_head[begins[begins < ends]] = True  # of every list that names a block
    heads = np.flatnonzero(is_head)
    length = np.diff(heads, append=len(flat))
    starts = np.searchsorted(heads, np.concatenate(([0], ends)))
    return Prefixes(block_tokens, starts, flat[heads], length, names_outputs)


def joined(parts: Sequence[tuple[Prefixes | None, int]]) -> Prefixes:
    """The prefixes of several workloads one after another, none of which begins as another's.

    Each comes with its number of requests; one of None has no prefix known. Raises InputError
    where blocks differ in size.
    """
    known = [each for each, _ in parts if each is not None]
    sizes = sorted({each.block_tokens for each in known})
    if len(sizes) > 1:
        raise InputError(
            f"prefix blocks of {sizes[0]} and of {sizes[1]} tokens cannot be in one workload",
            hint="mix traces whose lists of block ids have blocks of one size",
        )
    free = 0
    first: list[Ints] = []
    counts: list[Ints] = []
    for each, requests in parts:
        counts.append(np.zeros(requests, np.int64) if each is None else np.diff(each.starts))
        if each is not None:
            first.append(each.first + free)
            free += int((each.first + each.length).max(initial=0))
    starts: Ints = np.concatenate(([0], np.cumsum(np.concatenate(counts))))
    return Prefixes(
        sizes[0],
        starts,
        np.concatenate(first),
        np.concatenate([each.length for each in known]),
        any(each.names_outputs for each in known),
    )


def cut(extents: list[tuple[int, int]], blocks: int) -> list[tuple[int, int]]:
    """The extents' first `blocks` blocks."""
    kept: list[tuple[int, int]] = []
    for first, length in extents:
        if blocks <= 0:
            break
        kept.append((first, min(length, blocks)))
        blocks -= length
    return kept


def block_tokens_of(prompt_tokens: Ints, blocks: Ints) -> int | None:
    """The power of two of which every prompt has its listed blocks, the last one cut or left out.

    None where no size fits, or more than one. Requests that list nothing say nothing.
    """
    tokens, listed = prompt_tokens[blocks > 0], blocks[blocks > 0]
    fitting = [
        size
        for size in (1 << power for power in range(14))
        if np.array_equal(-(-tokens // size), listed) or np.array_equal(tokens // size, listed)
    ]
    return fitting[0] if len(fitting) == 1 else None
